package answer

import "github.com/gti/gtm/pkg/table"

// tally collects counts of the zone that was asked last, so that most queries touch no shared memory.
type tally struct {
	zone *table.ZoneCounts
	row  int
	n    [16]uint32
	any  bool
	// asked counts what was published since the last sample.
	asked uint64
}

// add counts one answer of a zone.
func (t *tally) add(z *table.ZoneCounts, rcode uint16, row int) {
	if t.zone != z {
		t.flush()
		t.zone, t.row = z, row
	}
	t.n[min(rcode, 15)]++
	t.any = true
}

func (t *tally) flush() {
	if !t.any {
		return
	}
	rows := t.zone.Rows
	row := &rows[t.row%len(rows)]
	for i, n := range t.n {
		if n != 0 {
			row[i].Add(uint64(n))
			t.asked += uint64(n)
			t.n[i] = 0
		}
	}
	t.any = false
}
