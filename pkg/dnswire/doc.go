// Package dnswire reads DNS queries and writes the parts of replies, in wire form.
//
// It works on the caller's bytes: reading a query and appending to a reply allocate nothing (as long as the
// slice appended to has room). It knows no socket, no zone and no policy. All functions may be called
// concurrently; a Query is for one goroutine at a time.
//
// A name in wire form is a row of labels, each behind its length, ended by the root's zero byte
// (RFC 1035, 3.1), never compressed.
package dnswire
