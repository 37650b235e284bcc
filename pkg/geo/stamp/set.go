package stamp

import "slices"

// Set are files that are looked at together, again and again. It is not for concurrent use.
type Set struct {
	Names  []string
	opened []Stamp // what they looked like when last opened, or found changed
	polled []Stamp // and at the last look
}

// NewSet gives the set of files that looked like seen when they were opened.
func NewSet(names []string, seen []Stamp) Set {
	return Set{Names: names, opened: slices.Clone(seen), polled: slices.Clone(seen)}
}

// Changed looks at the files. It reports whether one is another than when it was opened, while all have stayed as they were at the last
// look, so that no half written file is opened. They count as opened then.
func (s *Set) Changed() bool {
	changed, stable := false, true
	for i, file := range s.Names {
		now := Of(file)
		changed = changed || now != s.opened[i]
		stable = stable && now == s.polled[i]
		s.polled[i] = now
	}
	if !changed || !stable {
		return false
	}
	copy(s.opened, s.polled)
	return true
}

// Opened says what the files looked like when they were opened again.
func (s *Set) Opened(seen []Stamp) { copy(s.opened, seen) }
