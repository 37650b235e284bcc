package compile

import (
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
)

// division is what a partition is compiled by. Of a policy, its classifier finds on its way which classes there are; so each partition
// has a division of its own.
type division struct {
	classifier *geo.Classifier
	rows       []policy.Row   // of each class, where the partition is one policy's own
	wheres     []policy.Where // what each class is, where policies share the partition; each makes rows of them
	unplaced   int            // the class of clients of whom nothing is known, of rows and wheres
}

// ofRules divides by which rule of a service matches.
func ofRules(c *geo.Classifier) func() *division {
	return func() *division { return &division{classifier: c} }
}

// ofRows divides by the rows of a policy: places with equal rows are one class, so that scopes are as short as they can be.
func ofRows(p *policy.Policy) func() *division {
	return func() *division {
		d := &division{}
		known, keys := map[policy.Where]int{}, map[string]int{}
		d.classifier = classifierOver(p, func(w policy.Where) int {
			class, ok := known[w]
			if !ok {
				row := p.Row(w, nil)
				key := string(row.AppendKey(nil))
				if class, ok = keys[key]; !ok {
					class = len(d.rows)
					keys[key], d.rows = class, append(d.rows, row)
				}
				known[w] = class
			}
			d.classifier.Classes = len(d.rows)
			return class
		})
		return d
	}
}

// ofWheres divides by all that a policy asks of a place, whatever rows it makes of that.
func ofWheres(p *policy.Policy) func() *division {
	return func() *division {
		d := &division{}
		known := map[policy.Where]int{}
		d.classifier = classifierOver(p, func(w policy.Where) int {
			class, ok := known[w]
			if !ok {
				class = len(d.wheres)
				known[w], d.wheres = class, append(d.wheres, w)
			}
			d.classifier.Classes = len(d.wheres)
			return class
		})
		return d
	}
}

func classifierOver(p *policy.Policy, class func(policy.Where) int) *geo.Classifier {
	_, timed := p.Asks()
	return &geo.Classifier{Maps: p.Maps(), Latency: timed,
		Class: func(place geo.Place, in geo.Hits) int { return class(p.Where(place, in)) }}
}

// divided is a partition, and the division that made it.
type divided struct {
	*division
	part *geo.Partition
	err  error
}

// divide compiles a partition.
func divide(atlas *geo.Atlas, maps []geo.Map, begin func() *division) (d divided) {
	d.division = begin()
	d.part, d.err = geo.Compile(atlas, maps, d.classifier)
	if d.err == nil && (d.rows != nil || d.wheres != nil) {
		d.unplaced = d.classifier.Class(geo.Place{}, geo.Hits{})
	}
	return d
}

// rowsFor gives the rows of a policy, each once, and which of them each class of its partition has.
func (d *division) rowsFor(p *policy.Policy) (rows []policy.Row, of []uint16) {
	if d.rows != nil {
		of = make([]uint16, len(d.rows))
		for i := range of {
			of[i] = uint16(i)
		}
		return d.rows, of
	}
	of = make([]uint16, len(d.wheres))
	keys := make(map[string]uint16, 64)
	var key []byte
	for i, w := range d.wheres {
		row := p.Row(w, nil)
		key = row.AppendKey(key[:0])
		at, ok := keys[string(key)]
		if !ok {
			at = uint16(len(rows))
			keys[string(key)], rows = at, append(rows, row)
		}
		of[i] = at
	}
	return rows, of
}
