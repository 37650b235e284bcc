package state

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"
)

// Forms is how many forms of stored values this program reads beside plain JSON, the first of which is the packed one. Programs say so of
// themselves while they live: what one of them does not read is not written. See docs/decisions/0166.
const Forms = 1

// packLeast is how many bytes a value has at least that is packed: fewer are hardly worth it.
const packLeast = 1 << 10

// packers are gzip writers, which are large.
var packers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one
	return w
}}

// unpackers are gzip readers, which have a window of 32 kB each: who is told of thousands of pools at once makes them of one.
var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// Pack gives the packed form of a value, which is JSON: endpoints are much like each other, and so one takes a tenth. A small value stays
// as it is.
func Pack(value []byte) []byte {
	if len(value) < packLeast {
		return value
	}
	b := bytes.NewBuffer(make([]byte, 0, len(value)/8))
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(b)
	if _, err := w.Write(value); err != nil || w.Close() != nil {
		return value // memory takes all that is written
	}
	return b.Bytes()
}

// Unpack gives the value that was packed, of at most so many bytes; 0: of any size. What was not packed is given as it is.
func Unpack(value []byte, most int) ([]byte, error) {
	if len(value) < 2 || value[0] != 0x1f || value[1] != 0x8b { // JSON never begins so
		return value, nil
	}
	r := unpackers.Get().(*gzip.Reader)
	defer unpackers.Put(r)
	if err := r.Reset(bytes.NewReader(value)); err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	var b bytes.Buffer
	b.Grow(min(12*len(value), max(most, len(value))))
	from := io.Reader(r)
	if most > 0 {
		from = io.LimitReader(r, int64(most)+1)
	}
	if _, err := b.ReadFrom(from); err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	if most > 0 && b.Len() > most {
		return nil, fmt.Errorf("unpacked it has more than the %d bytes that are read", most)
	}
	return b.Bytes(), nil
}
