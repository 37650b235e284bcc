package snapshot

import "fmt"

// CorruptError: a part of the snapshot on disk is damaged or missing.
type CorruptError struct {
	File   string
	Offset int64 // negative: it is not about a place in the file
	Reason string
	// Serves tells what is left.
	Serves string
	absent bool // there is no such file
}

func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s cannot be read: %s; %s", e.File, e.Reason, e.Serves)
	}
	return fmt.Sprintf("%s is damaged at byte %d: %s; %s", e.File, e.Offset, e.Reason, e.Serves)
}
