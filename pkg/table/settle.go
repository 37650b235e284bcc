package table

import "context"

// Settle writes down the tables of sticky draws that the view is among the first to have: it answers the same before, but more
// slowly. It ends early with ctx.
func (v *View) Settle(ctx context.Context) {
	for _, chunk := range v.draws.chunks {
		for _, d := range chunk {
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
