package dnssec

// State is what control knows of the lives of a zone's keys.
type State struct{}
