package geo

// valuesOf gives the values of a table's cells, given the ids of classes by atom.
func valuesOf[V uint16 | uint32](t *table, ids []uint16) []V {
	values := make([]V, len(t.order))
	for cell := range t.narrow {
		l := &t.narrow[cell]
		first := ids[l.ids[0]]
		before, changes := first, uint32(0)
		for k := 1; k < cellRuns; k++ {
			id := ids[l.ids[k]]
			changes |= differ(id, before) << k
			before = id
		}
		values[cell] = valueOf[V](first, changes)
	}
	for cell := len(t.narrow); cell < len(t.order)-len(t.uniform); cell++ {
		list := t.wideRuns(uint32(cell))
		changes := uint32(0)
		for k := 1; k < len(list); k++ {
			changes |= differ(ids[list[k].id], ids[list[k-1].id]) << k
		}
		values[cell] = valueOf[V](ids[list[0].id], changes)
	}
	uniform := values[len(t.order)-len(t.uniform):]
	for i, atom := range t.uniform {
		uniform[i] = V(ids[atom]) << 8
	}
	scopes(t, values)
	return values
}

// differ is 1 if a and b differ, else 0.
func differ(a, b uint16) uint32 { return (uint32(a^b) + 0xffff) >> 16 }

// valueOf gives a value, but for the scope.
func valueOf[V uint16 | uint32](first uint16, changes uint32) V {
	if changes != 0 {
		return V(changes | mixedBit)
	}
	return V(first) << 8
}

// scopes adds to the values of whole cells the scopes. Prefixes that are wider than a cell hold other cells wholly or not
// at all, so that a mixed cell is a class of its own here. What an address shares with a farther cell is the least
// of what neighbours share on the way.
func scopes[V uint16 | uint32](t *table, values []V) {
	const scopeBits = 0x7f << 1
	last, scope := V(mixedBit), uint8(0) // of the cell before
	for i, cell := range t.order {
		v := values[cell]
		// Written so that the compiler needs no branches: nobody can predict them.
		gap := t.gaps[i]
		if scope = min(scope, gap); v != last {
			scope = gap
		}
		last = v
		with := v | V(scope)<<1
		if v&mixedBit != 0 {
			with = v
		}
		values[cell] = with
	}
	last, scope = mixedBit, 0 // of the cell behind
	gap := uint8(0)
	for i := len(t.order) - 1; i >= 0; i-- {
		cell := t.order[i]
		v := values[cell]
		id := v &^ scopeBits
		if v&mixedBit != 0 {
			id = v
		}
		if scope = min(scope, gap); id != last {
			scope = gap
		}
		last = id
		with := id | V(max(scope, uint8(v>>1&0x7f)))<<1
		if v&mixedBit != 0 {
			with = v
		}
		values[cell] = with
		gap = t.gaps[i]
	}
}

// topOf answers for the /16s of IPv4 that have one class throughout, from the values of the cells. What does not fit is left out.
func topOf(t *table, values *values) (top *[1 << 16]uint8, answers *[1 << 8]uint32) {
	top, answers = new([1 << 16]uint8), new([1 << 8]uint32)
	seen := map[uint32]uint8{}
	entry, index := uint32(0), uint8(0)
	for slot := range uint32(len(top)) {
		e := t.find4(slot << 16)
		if e != entry {
			entry, index = e, 0
			// A scope of at most 16 bits says so much of all cells in the slot.
			if v := values.at(e & cellMask); v&mixedBit == 0 && v>>1&0x7f <= 16 {
				var ok bool
				if index, ok = seen[v]; !ok && len(seen) < len(answers)-1 {
					index = uint8(len(seen) + 1)
					answers[index], seen[v] = v, index
				}
			}
		}
		top[slot] = index
	}
	return top, answers
}
