package mapfile

// sweep goes once over the addresses of a family, from the first to the last.
type sweep struct {
	v4    bool
	run   func(start address, name uint16) bool // one begins; false: enough
	ended func(n *network, within uint16, own bool)

	open []opened // the networks that hold the present address, each within the one before
	at   address  // up to here the runs are known
	full bool     // and behind it there is nothing
	stop bool
}

// opened is a network that has begun.
type opened struct {
	network
	end  address
	over bool // there is nothing behind it
	own  bool // an address belongs to it and to no longer one
}

// over goes over a list.
func (s *sweep) over(l *list) {
	s.open = append(s.open[:0], opened{network: network{v4: s.v4}, over: true}) // nobody's
	for n := range l.all() {
		s.closeUntil(n.address)
		s.reach(n.address)
		end, over := n.behind()
		s.open = append(s.open, opened{network: n, end: end, over: over})
		if s.stop {
			return
		}
	}
	for len(s.open) > 1 {
		s.close()
	}
	s.reachEnd()
}

// closeUntil ends the networks that end at or before an address.
func (s *sweep) closeUntil(x address) {
	for len(s.open) > 1 {
		top := &s.open[len(s.open)-1]
		if top.over || x.compare(top.end) < 0 {
			return
		}
		s.close()
	}
}

// close ends the innermost network.
func (s *sweep) close() {
	top := &s.open[len(s.open)-1]
	if top.over {
		s.reachEnd()
	} else {
		s.reach(top.end)
	}
	s.open = s.open[:len(s.open)-1]
	if s.ended != nil {
		s.ended(&top.network, s.open[len(s.open)-1].name, top.own)
	}
}

// reach gives the addresses up to x to the innermost network.
func (s *sweep) reach(x address) {
	if s.full || s.at == x {
		return
	}
	s.emit()
	s.at = x
}

// reachEnd gives it all that are left.
func (s *sweep) reachEnd() {
	if !s.full {
		s.emit()
		s.full = true
	}
}

func (s *sweep) emit() {
	top := &s.open[len(s.open)-1]
	top.own = true
	if s.run != nil && !s.stop {
		s.stop = !s.run(s.at, top.name)
	}
}
