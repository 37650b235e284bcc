package geo

import (
	"errors"
	"fmt"
	"math/bits"
)

// walked is one MMDB file as runs of the ids that its data got; 0 is that of no data.
type walked struct {
	v4, v6   *packed
	networks int // that hold data
}

// walker goes once through a database.
type walker struct {
	walked
	*mmdb
	read    func(at int) (id uint32, err error) // of the data at a position; called once for each
	starts  starts
	w4, w6  *packer
	four    uint32            // what all of IPv4 hangs from
	rest    int               // how many networks more there may be
	records map[uint32]uint32 // ids of the data that was read, by its position
	recent  [1 << 10]recent   // what was last asked of records; neighbours often have the same data
}

type recent struct{ at, id uint32 }

// behindIPv4 is the first address behind ::/96, where MMDB files keep IPv4. As IPv6 addresses those have
// no place.
var behindIPv4 = u128{lo: 1 << 32}

// walk verifies a database and goes through its networks; read gives the ids of their data.
func walk(db *mmdb, read func(at int) (id uint32, err error)) (*walked, error) {
	starts, err := section(db.data).verify()
	if err != nil {
		return nil, err
	}
	// A tree has one network more than it has nodes; one whose branches share nodes may have endless many.
	w := &walker{mmdb: db, read: read, starts: starts, four: db.root4(), rest: 8*int(db.nodes) + 1<<16,
		records: make(map[uint32]uint32, db.different())}
	// A byte for each node is mostly enough: growing would cost more.
	if w.w4, w.w6 = newPacker(true, int(db.nodes)), newPacker(false, int(db.nodes)); db.only4 {
		err = w.descend(w.w4, 0, u128{}, 0)
	} else {
		w.w6.add(u128{}, 0)
		err = w.descend(w.w6, 0, u128{}, 0)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range []*packer{w.w4, w.w6} {
		if r.empty() {
			r.add(u128{}, 0)
		}
	}
	w.v4, w.v6 = w.w4.done(), w.w6.done()
	return &w.walked, nil
}

// descend goes through what hangs from a record, in the order of the addresses: x is the first of them, depth the length
// of the way from the root.
func (w *walker) descend(r *packer, record uint32, x u128, depth int) error {
	if record >= w.nodes {
		return w.network(r, record, x, depth)
	}
	if r == w.w6 && record == w.four {
		if x != (u128{}) {
			r.add(x, 0) // an alias of IPv4
			return nil
		}
		if depth == 96 {
			r = w.w4
			depth = 0
		}
	}
	if depth == familyBits(r == w.w4) {
		return errors.New("its search tree is deeper than an address is long")
	}
	zero, one := w.node(record)
	if err := w.descend(r, zero, x, depth+1); err != nil {
		return err
	}
	return w.descend(r, one, x.with(depth), depth+1)
}

// network appends the network that a record which is no node stands for.
func (w *walker) network(r *packer, record uint32, x u128, depth int) error {
	if w.rest--; w.rest < 0 {
		return errors.New("its search tree has far more networks than nodes")
	}
	id, err := w.id(record)
	if err != nil {
		prefix, _ := x.addr(r == w.w4).Prefix(depth)
		return fmt.Errorf("the data of network %s: %w", prefix, err)
	}
	if r == w.w6 && x == (u128{}) && depth <= 96 {
		// No branch of the tree is IPv4's own: this network holds all of it.
		w.w4.add(u128{}, id)
		x = behindIPv4
	}
	r.add(x, id)
	return nil
}

// id gives the id of a record's data, reading each piece of data once.
func (w *walker) id(record uint32) (uint32, error) {
	if record == w.nodes {
		return 0, nil
	}
	w.networks++
	at := record - w.nodes - separator // beyond the section if record is too small
	slot := &w.recent[at*0x9E3779B1>>(32-bits.Len(uint(len(w.recent)-1)))]
	if slot.id != 0 && slot.at == at {
		return slot.id, nil
	}
	id, seen := w.records[at]
	if !seen {
		if !w.starts.has(int(at)) {
			return 0, errors.New("it lies within a field, or outside of the file's data")
		}
		var err error
		if id, err = w.read(int(at)); err != nil {
			return 0, err
		}
		w.records[at] = id
	}
	*slot = recent{at, id}
	return id, nil
}
