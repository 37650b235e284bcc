package geo

// valuesOf gives the values of a table's cells, given the ids of classes by atom; named holds those of the atoms
// that narrow cells can name, so that no bound need be checked.
func valuesOf[V uint16 | uint32](t *table, ids []uint16, named *[maxNarrow]uint16) []V {
	values := make([]V, len(t.order))
	for cell := range t.narrow {
		l := &t.narrow[cell]
		values[cell] = valueOf[V](named[l.ids[0]], changesIn(l, named))
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

// changesIn has bit n where the class of run n is another than that of the run before. It takes most of the time of making a
// partition, hence goes four runs at a time: ids have at most 15 bits, and one more in each lane tells that it is not zero.
func changesIn(l *line, ids *[maxNarrow]uint16) (changes uint32) {
	const gather = 1<<48 | 1<<33 | 1<<18 | 1<<3 // multiplied, moves the lanes' lowest bits side by side, from bit 48 on
	before := uint64(ids[l.ids[0]])
	for k := 0; k < cellRuns; k += 4 {
		four := uint64(ids[l.ids[k]]) | uint64(ids[l.ids[k+1]])<<16 | uint64(ids[l.ids[k+2]])<<32 | uint64(ids[l.ids[k+3]])<<48
		differ := ((four ^ (four<<16 | before)) + lastStart*lanes) >> 15 & lanes
		changes |= uint32(differ*gather>>48&0xf) << k
		before = four >> 48
	}
	return changes
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
	last, scope := V(mixedBit), uint8(0) // of the cell before
	for i, cell := range t.order {
		v := values[cell]
		scope = min(scope|otherwise(v == last), t.gaps[i])
		last = v
		values[cell] = v | V(scope)<<1&whole(v)
	}
	last, scope = mixedBit, 0 // of the cell behind
	gap := uint8(0)
	for i := len(t.order) - 1; i >= 0; i-- {
		cell := t.order[i]
		v := values[cell]
		id := v &^ (0x7f << 1 & whole(v))
		scope = min(scope|otherwise(id == last), gap)
		last = id
		values[cell] = id | V(max(scope, uint8(v>>1&0x7f)))<<1&whole(v)
		gap = t.gaps[i]
	}
}

// otherwise is 0 if b, else the highest scope there is. Like whole it saves a branch that nobody can predict.
func otherwise(b bool) uint8 {
	var n uint8
	if b {
		n = 1
	}
	return n - 1
}

// whole is all ones for the value of a whole cell, else 0.
func whole[V uint16 | uint32](v V) V { return v&mixedBit - 1 }

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
