package health

// AnswersAs reports whether answers are the same by two verdicts on a pool. A pool of which nothing is down needs no words of its own for
// clients of a region.
func (v *Verdict) AnswersAs(o *Verdict) bool {
	if o == nil || v.Frozen || o.Frozen || v.Out != nil || o.Out != nil || len(v.Endpoints) != len(o.Endpoints) {
		return false
	}
	for name, f := range v.Endpoints {
		g, ok := o.Endpoints[name]
		if !ok || f.State == Down || f.State != g.State || f.Score != g.Score || f.Unsure != g.Unsure || f.Of != g.Of ||
			f.Recovered != g.Recovered || f.Recovered && !f.Since.Equal(g.Since) {
			return false
		}
	}
	return true
}
