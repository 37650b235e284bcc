package spec

import "time"

// Duration is a time.Duration written as in 30s or 1m30s.
type Duration time.Duration

// StringList is a list of strings that may be written as one string.
type StringList []string
