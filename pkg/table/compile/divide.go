package compile

import (
	"slices"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/table"
)

// division is what a partition is compiled by. Of a policy, its classifier finds on its way which classes there are; so each partition
// has a division of its own.
type division struct {
	classifier *geo.Classifier // nil once the partition is there, where it would keep all that it has seen
	timed      bool            // it goes by latencies
	rows       []policy.Row    // of each class, where the partition is one policy's own
	own        *policy.Rows    // these taken apart
	layouts    layouts         // that the services share
	wheres     []policy.Where  // what each class is, where policies share the partition
	grid       *policy.Grid    // of wheres
	near       distances       // likewise
	unplaced   int             // the class of clients of whom nothing is known, of rows and wheres
}

// ofRules divides by which rule of a service matches.
func ofRules(c *geo.Classifier) func() *division {
	return func() *division { return &division{classifier: c} }
}

// ofRows divides by the rows of a policy: places with equal rows are one class, so that scopes are as short as they can be.
func ofRows(p *policy.Policy) func() *division {
	return func() *division {
		d, index, known := &division{}, p.NewIndex(), map[policy.Where]int{}
		_, timed := p.Asks()
		d.classifier = classifierOver(p, func(w policy.Where) int {
			class, ok := known[w]
			if !ok {
				if class = index.Of(w); !timed { // of millions of latencies hardly two are alike
					known[w] = class
				}
				d.rows = index.Rows
				d.classifier.Classes = len(d.rows)
			}
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
	located, timed := p.Asks()
	return &geo.Classifier{Maps: p.Maps(), Points: located, Latency: timed,
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
	d.timed = d.classifier.Latency
	if d.err == nil && (d.rows != nil || d.wheres != nil) {
		d.unplaced, d.grid = d.classifier.Class(geo.Place{}, geo.Hits{}), policy.NewGrid(d.wheres)
		d.classifier, d.own = nil, policy.RowsOf(d.rows)
	}
	return d
}

// rowsFor gives the rows of a policy, each once, and which of them each class of its partition has.
func (d *division) rowsFor(p *policy.Policy) *policy.Rows {
	if d.rows == nil {
		return p.Rows(d.grid)
	}
	return d.own
}

// layouts are those of a partition's services. Where rows are one policy's own, or few, services have the same.
type layouts struct {
	own *table.Layout
	few map[*policy.Rows][]layout
}

// layout is one, and what it was made of beside rows.
type layout struct {
	order, last []int
	index       []uint32
	made        *table.Layout
}

// These bound layouts.few, of which those stay that services no longer have: how many rows it knows, and how many layouts of each.
const (
	maxLaidOut = 1024
	maxLayouts = 16
)

// take gives the layout of rows, as table.NewLayout makes it.
func (l *layouts) take(rows *policy.Rows, order []int, index []uint32, last []int) *table.Layout {
	if rows.Groups == nil {
		fresh := table.NewLayout(rows.Of, order, index, last, l.own)
		if l.own == nil {
			l.own = fresh
		}
		return fresh
	}
	known := l.few[rows]
	for i := range known {
		if k := &known[i]; slices.Equal(k.order, order) && slices.Equal(k.last, last) && slices.Equal(k.index, index) {
			return k.made
		}
	}
	of := make([]uint16, len(rows.Groups))
	for class := range of {
		of[class] = rows.At(class)
	}
	fresh := layout{order, last, slices.Clone(index), nil}
	if fresh.made = table.NewLayout(of, order, index, last, nil); l.few == nil || len(l.few) == maxLaidOut {
		l.few = map[*policy.Rows][]layout{}
	}
	if len(known) < maxLayouts {
		l.few[rows] = append(known, fresh)
	}
	return fresh.made
}
