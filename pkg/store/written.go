package store

import "go.etcd.io/etcd/client/v3"

// Written tells what became of something that was to be written.
type Written struct {
	Bytes int  // of keys and values
	Whole bool // it was written as one value, not in pieces
	// Revision is etcd's at or after the write, of verdicts: a Mirror at that revision has seen it.
	Revision int64
	Err      error
}

// below is the range of the pieces of a key.
func below(key string) (from, to string) { return key + "/", clientv3.GetPrefixRangeEnd(key + "/") }

// opDropPieces takes the pieces of a key away.
func opDropPieces(key string) clientv3.Op {
	from, to := below(key)
	return clientv3.OpDelete(from, clientv3.WithRange(to))
}
