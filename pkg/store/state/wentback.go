package state

// WentBackError: the store holds an older state than was seen before.
type WentBackError struct {
	Reason string
	// Empty: nothing at all is there. Whoever takes that answers nothing more, so accepting it is no advice.
	Empty bool
}

func (e *WentBackError) Error() string {
	if e.Empty {
		return "the store went back: " + e.Reason + "; if it is the right one, fill it: gtmctl store rebuild -f DIR"
	}
	return "the store went back: " + e.Reason + "; if that is meant (a restored backup), run: gtmctl store accept"
}
