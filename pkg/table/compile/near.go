package compile

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table"
)

// distances are those of a partition's classes, with a column for each point that nodes choose by.
type distances struct {
	table.Distances
	columns map[geo.Point]uint16 // those in use
	refs    []int                // of each that was ever in use
	points  []geo.Point          // likewise
}

// maxColumns bounds among how many points nodes of one partition choose.
const maxColumns = 4096

// column takes the column of a point.
func (d *division) column(at geo.Point) (uint16, error) {
	n := &d.near
	column, ok := n.columns[at]
	if !ok {
		if column, ok = n.unused(d.grid.Len()); !ok {
			return 0, fmt.Errorf("nearest: policies choose among sites at more than %d points; let some be fewer", maxColumns)
		}
		n.columns[at], n.points[column] = column, at
		for i := range d.grid.Len() {
			km, known := d.grid.Kilometres(i, at)
			if !known {
				km = table.Nowhere
			}
			n.Km[i*n.Columns+int(column)] = km
		}
	}
	n.refs[column]++
	return column, nil
}

// unused gives a column that may be written: one that no view has read yet, or one that is no longer in use, in a copy.
func (n *distances) unused(classes int) (column uint16, ok bool) {
	if n.columns == nil {
		n.columns = map[geo.Point]uint16{}
	}
	if len(n.refs) == n.Columns {
		free := slices.Index(n.refs, 0)
		wider := n.Columns
		if free < 0 {
			if wider = max(8, 2*n.Columns); wider > maxColumns {
				return 0, false
			}
		}
		n.widen(classes, wider)
		if free >= 0 {
			return uint16(free), true
		}
	}
	n.refs, n.points = append(n.refs, 0), append(n.points, geo.Point{})
	return uint16(len(n.refs) - 1), true
}

// widen copies the distances.
func (n *distances) widen(classes, columns int) {
	km := make([]float32, classes*columns)
	for i := range classes {
		copy(km[i*columns:(i+1)*columns], n.Km[i*n.Columns:(i+1)*n.Columns])
	}
	n.Km, n.Columns = km, columns
}

// distances gives those of each partition.
func (c *Compiler) distances() []table.Distances {
	list := make([]table.Distances, len(c.divisions))
	for i, d := range c.divisions {
		if d != nil {
			list[i] = d.near.Distances
		}
	}
	return list
}

// release gives its columns back. s may be nil.
func (s *nearState) release() {
	if s == nil {
		return
	}
	n := &s.of.near
	for _, column := range s.table.Columns {
		if n.refs[column]--; n.refs[column] == 0 {
			delete(n.columns, n.points[column])
		}
	}
}

// appendKey appends what is the same for nodes that choose alike among the same arms.
func (s *nearState) appendKey(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, s.slot) // no other partition has it before this node is gone
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(s.table.Band))
	for i, column := range s.table.Columns {
		b = binary.BigEndian.AppendUint16(b, column)
		if s.table.Bias != nil {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(s.table.Bias[i].Share))
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(s.table.Bias[i].Kilometres))
		}
	}
	return b
}
