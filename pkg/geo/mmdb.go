package geo

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/oschwald/maxminddb-golang/v2"
)

// mmdb is a database file taken apart: https://maxmind.github.io/MaxMind-DB/. Where a record of its search tree is
// below nodes it is the node to go to, where it equals nodes there is no data, and above it leads into data.
type mmdb struct {
	tree  []byte
	nodes uint32
	size  uint // of a record, in bits: 24, 28 or 32
	only4 bool // the tree is of IPv4; else of IPv6, with IPv4 in ::/96
	data  []byte
}

const (
	separator      = 16 // zero bytes between tree and data
	metadataMarker = "\xAB\xCD\xEFMaxMind.com"
)

// openMMDB checks that the parts of a file are where its metadata says. It keeps no copy.
func openMMDB(file []byte) (*mmdb, maxminddb.Metadata, error) {
	db, err := maxminddb.OpenBytes(file, maxminddb.DisableStringCache())
	if err != nil {
		return nil, maxminddb.Metadata{}, err
	}
	m := db.Metadata
	switch {
	case m.BinaryFormatMajorVersion != 2:
		return nil, m, fmt.Errorf("its format has version %d; only 2 can be read", m.BinaryFormatMajorVersion)
	case m.RecordSize != 24 && m.RecordSize != 28 && m.RecordSize != 32:
		return nil, m, fmt.Errorf("the records of its search tree have %d bits; 24, 28 and 32 are known", m.RecordSize)
	case m.IPVersion != 4 && m.IPVersion != 6:
		return nil, m, fmt.Errorf("it is of IP version %d", m.IPVersion)
	case m.DatabaseType == "":
		return nil, m, errors.New("its metadata gives no database_type")
	case m.NodeCount == 0 || m.NodeCount > 1<<32-1-separator:
		return nil, m, fmt.Errorf("its search tree has %d nodes", m.NodeCount)
	}
	end := uint(bytes.LastIndex(file, []byte(metadataMarker))) // OpenBytes has found it
	size := m.NodeCount * m.RecordSize / 4
	if size+separator > end {
		return nil, m, errors.New("its search tree is longer than the file")
	}
	if !bytes.Equal(file[size:size+separator], make([]byte, separator)) {
		return nil, m, errors.New("its search tree does not end where its metadata says")
	}
	return &mmdb{tree: file[:size], nodes: uint32(m.NodeCount), size: m.RecordSize, only4: m.IPVersion == 4,
		data: file[size+separator : end]}, m, nil
}

// node gives the two records of a node, which must be one of the tree.
func (db *mmdb) node(n uint32) (zero, one uint32) {
	switch db.size {
	case 24:
		b := db.tree[uint(n)*6:][:6]
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])
	case 28: // the byte in the middle holds the upper four bits of both
		b := db.tree[uint(n)*7:][:7]
		return uint32(b[3]&0xf0)<<20 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
			uint32(b[3]&0x0f)<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])
	default:
		b := db.tree[uint(n)*8:][:8]
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]),
			uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	}
}

// root4 gives the record that all of IPv4 hangs from.
func (db *mmdb) root4() uint32 {
	record := uint32(0)
	if db.only4 {
		return record
	}
	for range 96 {
		if record >= db.nodes {
			break
		}
		record, _ = db.node(record)
	}
	return record
}

// different guesses, rather too low, how many different pieces of data networks may have: room for so many saves growing.
func (db *mmdb) different() int { return min(int(db.nodes), len(db.data)/64) }
