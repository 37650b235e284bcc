package link

import "testing"

func TestContactIsNeverUntilHeard(t *testing.T) {
	var m metrics
	if at, age := m.lastContact(), m.contactAge(); !at.IsZero() || age != -1 {
		t.Errorf("never heard, and yet at %v, %v s ago", at, age)
	}
	m.heard()
	if at, age := m.lastContact(), m.contactAge(); at.IsZero() || age < 0 {
		t.Errorf("heard, and yet at %v, %v s ago", at, age)
	}
}
