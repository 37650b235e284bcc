package snapshot

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// item is a version, or a value of a followed kind, and what it decodes to.
type item struct {
	kind    byte
	version state.Version
	value   any // of a followed kind
	broken  *state.BrokenResource
}

// decode reads a frame's payload, of which it keeps nothing. Its error means that the frame, though whole, is not ours.
func (it *item) decode(p []byte, reader *spec.Reader) error {
	if kind := kindOf(it.kind); kind != nil {
		v, err := kind.DecodeValue(p)
		it.value = v
		return err
	}
	digest := uint64(0)
	if it.kind == frameDigested {
		if len(p) < 8 {
			return errors.New("a version has no digest")
		}
		digest, p = binary.BigEndian.Uint64(p), p[8:]
	}
	gen, used := binary.Uvarint(p)
	if used <= 0 {
		return errors.New("a version has no generation")
	}
	raw, text, err := cutBytes(p[used:])
	if err != nil {
		return err
	}
	r, err := state.DecodeResource(reader, spec.Key{}, raw, string(text))
	if err != nil {
		var key spec.Key
		if json.Unmarshal(raw, &key) != nil {
			return fmt.Errorf("a resource is not understood: %w", err)
		}
		it.broken = &state.BrokenResource{Key: key, Generation: state.Generation(gen), Err: err}
		return nil
	}
	it.version = state.Version{Resource: r, Generation: state.Generation(gen), Digest: digest}
	return nil
}

// kindOf gives the followed kind of a frame; nil: there is none.
func kindOf(frame byte) state.Followed {
	for _, kind := range state.Kinds() {
		if kind.FrameKind() == frame {
			return kind
		}
	}
	return nil
}

func each(items []item) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for i := range items {
			if !yield(&items[i]) {
				return
			}
		}
	}
}

// batchBytes is how much of a base is checked and decoded at a time: much more than a frame has, and little enough that what is
// on its way fits into a CPU's cache.
const batchBytes = 256 << 10

// batch is a run of whole frames of a base.
type batch struct {
	off   int64 // in the file
	raw   []byte
	items []item
	end   []byte // the payload of the end frame, if that is in it
	at    int64  // where err is
	err   error
}

// readBase reads the frames behind the first one, and decodes them with all CPUs. at tells where an error is.
func readBase(r *frameReader) (items iter.Seq[*item], at int64, err error) {
	var all []*batch
	workers := runtime.GOMAXPROCS(0)
	work, free := make(chan *batch, workers), make(chan []byte, 2*workers+1) // of buffers: as many as can be on their way
	for range cap(free) {
		free <- nil
	}
	var decoding sync.WaitGroup
	for range workers {
		decoding.Go(func() {
			var reader spec.Reader
			for b := range work {
				b.decode(&reader)
				free <- b.raw[:0]
				b.raw = nil
			}
		})
	}
	for err == nil {
		b := &batch{off: r.off, raw: <-free}
		if b.raw, err = r.frames(b.raw, batchBytes); len(b.raw) > 0 {
			all = append(all, b)
			work <- b
		}
	}
	close(work)
	decoding.Wait()
	count := uint64(0)
	for i, b := range all {
		switch last := i == len(all)-1; {
		case b.err != nil:
			return nil, b.at, b.err
		case b.end != nil && (!last || !errors.Is(err, io.EOF) || len(b.end) != 8 ||
			binary.BigEndian.Uint64(b.end) != count+uint64(len(b.items))):
			return nil, b.off, errors.New("records are missing or surplus")
		case b.end != nil:
			return chain(all), 0, nil
		}
		count += uint64(len(b.items))
	}
	return nil, r.off, err // without an end
}

func chain(all []*batch) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for _, b := range all {
			for it := range each(b.items) {
				if !yield(it) {
					return
				}
			}
		}
	}
}

// decode checks the frames of a batch and decodes them, up to the first that is at fault.
func (b *batch) decode(reader *spec.Reader) {
	b.items = make([]item, 0, framesIn(b.raw))
	for rest := b.raw; len(rest) > 0; {
		b.at = b.off + int64(len(b.raw)-len(rest))
		kind, payload, size, err := cutFrame(rest)
		if b.err = err; err != nil {
			return
		}
		rest = rest[size:]
		switch {
		case kind == frameEnd && len(rest) == 0:
			b.end = append([]byte{}, payload...)
		case !isItem(kind):
			b.err = fmt.Errorf("a record of kind %q does not belong here", kind)
			return
		default:
			b.items = append(b.items, item{kind: kind})
			if b.err = b.items[len(b.items)-1].decode(payload, reader); b.err != nil {
				return
			}
		}
	}
}
