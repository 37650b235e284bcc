package steer

// scored is an item, by its index in a list, and its Rendezvous score.
type scored struct {
	score float64
	at    int
}

// highest gives the n items of the highest scores for h, the highest first. buf is where it puts them.
func highest(buf []scored, items []Item, n int, h uint64) []scored {
	top := buf[:0]
	for i := range items {
		it := &items[i]
		u := unitOf(mix(h ^ it.ID))
		if len(top) == n && u-1 <= top[n-1].score*it.Weight {
			continue // since ln(u) < u-1
		}
		s := scored{Rendezvous(h, it.ID, it.Weight), i}
		at := len(top)
		for at > 0 && s.score > top[at-1].score {
			at--
		}
		if at == n {
			continue
		}
		if len(top) < n {
			top = append(top, s)
		}
		copy(top[at+1:], top[at:])
		top[at] = s
	}
	return top
}
