package geo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// kind is the type of a field of a database's data section.
type kind uint8

const (
	kindExtended kind = iota
	kindPointer
	kindString
	kindDouble
	kindBytes
	kindUint16
	kindUint32
	kindMap
	kindInt32
	kindUint64
	kindUint128
	kindArray
	_ // a container of a cache, of no use in files
	_ // an end marker, likewise
	kindBool
	kindFloat
)

// maxNesting is how deep the maps and arrays of one record may nest.
const maxNesting = 256

// section is the data section of a database: fields behind each other. Positions are offsets in it.
type section []byte

// field is the head of one field. What follows it, from body on, are size bytes, or for a map size pairs of
// fields, for an array size fields, for a bool (whose value size is) nothing. For a pointer size is where it leads to.
type field struct {
	kind kind
	size int
	body int
}

var errCut = errors.New("its data ends within a field")

// field reads the head at a position. Strings and numbers are then wholly inside of the section.
func (s section) field(at int) (f field, err error) {
	if uint(at) >= uint(len(s)) {
		return f, errCut
	}
	control := s[at]
	f = field{kind: kind(control >> 5), size: int(control & 31), body: at + 1}
	if f.kind == kindPointer {
		return s.pointer(f)
	}
	if f.kind == kindExtended {
		if f.body == len(s) {
			return f, errCut
		}
		f.kind = kind(s[f.body]) + 7
		f.body++
	}
	if f.size > 28 {
		more := f.size - 28
		if more > len(s)-f.body {
			return f, errCut
		}
		f.size = [...]int{29, 29 + 256, 29 + 256 + 65536}[more-1] + bigEndian(s[f.body:f.body+more])
		f.body += more
	}
	return f, s.checkSize(f)
}

// checkSize holds the size of a field against its kind and against what is left of the section.
func (s section) checkSize(f field) error {
	fits := true
	switch f.kind {
	case kindMap, kindArray:
		return nil // what is inside is read field by field
	case kindBool:
		fits = f.size <= 1
		f.size = 0
	case kindString, kindBytes:
	case kindDouble:
		fits = f.size == 8
	case kindFloat:
		fits = f.size == 4
	case kindUint16:
		fits = f.size <= 2
	case kindUint32, kindInt32:
		fits = f.size <= 4
	case kindUint64:
		fits = f.size <= 8
	case kindUint128:
		fits = f.size <= 16
	default:
		return fmt.Errorf("its data has a field of the unknown type %d", f.kind)
	}
	if !fits {
		return fmt.Errorf("its data has a field of type %d with %d bytes", f.kind, f.size)
	}
	if f.size > len(s)-f.body {
		return errCut
	}
	return nil
}

// pointer reads the rest of a pointer: 11, 19 or 27 bits beside an offset, or 32.
func (s section) pointer(f field) (field, error) {
	length, high := f.size>>3+1, f.size&7
	if length > len(s)-f.body {
		return f, errCut
	}
	value := bigEndian(s[f.body : f.body+length])
	if length < 4 {
		value += high<<(8*length) + [...]int{0, 2048, 2048 + 524288}[length-1]
	}
	f.size, f.body = value, f.body+length
	return f, nil
}

func bigEndian(b []byte) (n int) {
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n
}

// follow is field, but gives what a pointer leads to.
func (s section) follow(at int) (field, error) {
	f, err := s.field(at)
	if err == nil && f.kind == kindPointer {
		if f, err = s.field(f.size); err == nil && f.kind == kindPointer {
			return f, errors.New("its data has a pointer to a pointer")
		}
	}
	return f, err
}

// skip gives the position behind the field at a position, and all that is in it.
func (s section) skip(at, nesting int) (int, error) {
	f, err := s.field(at)
	if err != nil {
		return 0, err
	}
	fields := f.size
	switch f.kind {
	case kindPointer, kindBool:
		return f.body, nil
	case kindMap:
		fields *= 2
	case kindArray:
	default:
		return f.body + f.size, nil
	}
	if nesting == maxNesting {
		return 0, errors.New("its data nests too deep")
	}
	at = f.body
	for range fields {
		if at, err = s.skip(at, nesting+1); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// text gives a string, or an error that says what should be one.
func (s section) text(at int, what string) ([]byte, error) {
	f, err := s.follow(at)
	if err != nil {
		return nil, err
	}
	if f.kind != kindString {
		return nil, fmt.Errorf("%s is no string", what)
	}
	return s[f.body : f.body+f.size], nil
}

// number gives an unsigned number of at most 32 bits.
func (s section) number(at int, what string) (uint32, error) {
	f, err := s.follow(at)
	if err != nil {
		return 0, err
	}
	switch f.kind {
	case kindUint16, kindUint32, kindUint64:
		if n := bigEndian(s[f.body : f.body+f.size]); uint64(n) < 1<<32 {
			return uint32(n), nil
		}
	}
	return 0, fmt.Errorf("%s is no number of 32 bits", what)
}

// real gives a number of any kind.
func (s section) real(at int, what string) (float64, error) {
	f, err := s.follow(at)
	if err != nil {
		return 0, err
	}
	b := s[f.body:]
	switch f.kind {
	case kindDouble:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case kindFloat:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	}
	n, err := s.number(at, what)
	return float64(n), err
}

// each calls visit for the pairs of a map, with the position of the value.
func (s section) each(at int, what string, visit func(key []byte, value int) error) error {
	f, err := s.follow(at)
	if err != nil {
		return err
	}
	if f.kind != kindMap {
		return fmt.Errorf("%s is no map", what)
	}
	at = f.body
	for range f.size {
		key, err := s.text(at, "a key")
		if err != nil {
			return err
		}
		if at, err = s.skip(at, 0); err != nil {
			return err
		}
		if err := visit(key, at); err != nil {
			return err
		}
		if at, err = s.skip(at, 0); err != nil {
			return err
		}
	}
	return nil
}
