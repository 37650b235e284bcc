package table

import "context"

// Settle writes down the tables of sticky draws that the view is among the first to have: it answers the same before, but more
// slowly. What it shares with a view that was settled before (nil: there is none) it leaves out: looking through all draws would
// drive from the caches what queries need. It ends early with ctx.
func (v *View) Settle(ctx context.Context, settled *View) {
	for i, chunk := range v.nodes.chunks {
		if settled != nil && i < len(settled.nodes.chunks) && settled.nodes.chunks[i] == chunk {
			continue
		}
		for n := range chunk {
			d := chunk[n].draw
			if d == nil {
				continue
			}
			for f := range d.fams {
				for _, p := range []*picks{d.fams[f].live, d.fams[f].all} {
					if p == nil || p.table == nil || p.table.Filled() {
						continue
					}
					if ctx.Err() != nil {
						return
					}
					p.table.Fill()
				}
			}
		}
	}
}
