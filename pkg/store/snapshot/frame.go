package snapshot

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/gti/gtm/pkg/store/state"
)

// A frame is one record of a snapshot's files: kind (1 byte), length of the payload (4, big-endian),
// CRC-32C of kind, length and payload (4), payload.
const frameHeader = 9

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn: the file ends within a frame.
var errTorn = errors.New("it ends within a record")

// errChecksum: a frame is not what was written.
var errChecksum = errors.New("the checksum of a record is wrong")

func appendFrame(b []byte, kind byte, payload ...[]byte) []byte {
	start := len(b)
	b = append(b, kind, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, p := range payload {
		b = append(b, p...)
	}
	f := b[start:]
	binary.BigEndian.PutUint32(f[1:], uint32(len(f)-frameHeader))
	binary.BigEndian.PutUint32(f[5:], frameSum(f))
	return b
}

func frameSum(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[:5], castagnoli), castagnoli, f[frameHeader:])
}

// frameReader reads the frames of a file of a known size, so that a damaged length allocates no more than
// the file holds.
type frameReader struct {
	r         *bufio.Reader
	off, size int64
}

func newFrameReader(r io.Reader, off, size int64) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 1<<18), off: off, size: size}
}

// next gives the next frame, in memory of its own; io.EOF at a clean end. The offset stays before a frame
// that is refused.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	size, err := f.peek()
	if err != nil {
		return 0, nil, err
	}
	whole := make([]byte, size)
	if _, err := io.ReadFull(f.r, whole); err != nil {
		return 0, nil, errTorn
	}
	if kind, payload, _, err = cutFrame(whole); err == nil {
		f.off += size
	}
	return kind, payload, err
}

// peek gives the size of the next frame, which is all there; io.EOF at a clean end.
func (f *frameReader) peek() (int64, error) {
	if f.off == f.size {
		return 0, io.EOF
	}
	head, err := f.r.Peek(frameHeader)
	if err != nil {
		return 0, errTorn
	}
	size := frameHeader + int64(binary.BigEndian.Uint32(head[1:]))
	if f.off+size > f.size {
		return 0, errTorn
	}
	return size, nil
}

// frames appends whole frames, unchecked, until b holds least bytes or more. Its error tells why there are no more: io.EOF at a
// clean end.
func (f *frameReader) frames(b []byte, least int) ([]byte, error) {
	for len(b) < least {
		size, err := f.peek()
		if err != nil {
			return b, err
		}
		if int(size) > cap(b)-len(b) {
			b = slices.Grow(b, max(int(size), least+least/8-len(b))) // at once for all, mostly
		}
		if _, err := io.ReadFull(f.r, b[len(b):len(b)+int(size)]); err != nil {
			return b, errTorn
		}
		b = b[:len(b)+int(size)]
		f.off += size
	}
	return b, nil
}

// cutFrame checks the frame that b begins with.
func cutFrame(b []byte) (kind byte, payload []byte, size int, err error) {
	size = frameHeader + int(binary.BigEndian.Uint32(b[1:]))
	if frameSum(b[:size]) != binary.BigEndian.Uint32(b[5:]) {
		return 0, nil, 0, errChecksum
	}
	return b[0], b[frameHeader:size], size, nil
}

// framesIn counts the frames of b, which holds whole ones.
func framesIn(b []byte) int {
	n := 0
	for ; len(b) >= frameHeader; n++ {
		b = b[min(len(b), frameHeader+int(binary.BigEndian.Uint32(b[1:]))):]
	}
	return n
}

// countFrames counts the whole frames of a kind that stand anywhere in b.
func countFrames(b []byte, kind byte) int {
	n := 0
	for i := 0; i+frameHeader <= len(b); i++ {
		f := b[i:]
		size := frameHeader + int(binary.BigEndian.Uint32(f[1:]))
		if f[0] == kind && size <= len(f) && frameSum(f[:size]) == binary.BigEndian.Uint32(f[5:]) {
			n++
		}
	}
	return n
}

// cutBytes splits a payload that begins with a uvarint length.
func cutBytes(p []byte) (head, rest []byte, err error) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > uint64(len(p)-used) {
		return nil, nil, fmt.Errorf("a length in a record points past its end")
	}
	return p[used : used+int(n)], p[used+int(n):], nil
}

// frameWriter gathers frames; its error is the first one.
type frameWriter struct {
	buf []byte
	err error
}

func (w *frameWriter) json(kind byte, v any) {
	b, err := state.MarshalPlain(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.buf = appendFrame(w.buf, kind, b)
}

// update: what an update says beside its frames, as one object. Names of what was deleted stand in a field of each kind.
func (w *frameWriter) update(meta snapUpdate, u state.Update) {
	b, err := state.MarshalPlain(meta)
	for _, kind := range state.Kinds() {
		gone, failed := kind.GoneIn(u)
		if err = cmp.Or(err, failed); err == nil && gone != nil {
			b = fmt.Appendf(b[:len(b)-1], ",%q:%s}", kind.GoneField(), gone)
		}
	}
	w.err = cmp.Or(w.err, err)
	w.buf = appendFrame(w.buf, frameUpdate, b)
}

// version: generation, length of the resource, resource, zone content.
func (w *frameWriter) version(v state.Version) {
	bare, text := state.StripText(v.Resource)
	b, err := state.MarshalPlain(bare)
	if err != nil && w.err == nil {
		w.err = err
	}
	head := binary.AppendUvarint(nil, uint64(v.Generation))
	head = binary.AppendUvarint(head, uint64(len(b)))
	if v.Digest != 0 {
		w.buf = appendFrame(w.buf, frameDigested, binary.BigEndian.AppendUint64(nil, v.Digest), head, b, []byte(text))
		return
	}
	w.buf = appendFrame(w.buf, frameVersion, head, b, []byte(text))
}

// spill writes when there is enough.
func (w *frameWriter) spill(f io.Writer) error {
	if len(w.buf) < 1<<20 {
		return w.err
	}
	return w.flush(f)
}

func (w *frameWriter) flush(f io.Writer) error {
	if w.err != nil {
		return w.err
	}
	_, err := f.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
