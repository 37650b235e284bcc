package geo

import (
	"errors"
	"unicode/utf8"
)

// starts is the set of positions at which fields begin.
type starts []uint64

func (b starts) has(at int) bool { return uint(at) < uint(len(b))*64 && b[at>>6]>>(at&63)&1 != 0 }

// verify goes through all fields once: they must fill the section, strings must be UTF-8, keys strings, and pointers
// must lead to where a field begins.
func (s section) verify() (starts, error) {
	v := verifier{section: s, starts: make(starts, len(s)/64+1)}
	for at := 0; at < len(s); {
		next, err := v.value(at, 0)
		if err != nil {
			return nil, err
		}
		at = next
	}
	for _, target := range v.targets {
		if !v.starts.has(target) {
			return nil, errors.New("its data has a pointer into the middle of a field")
		}
	}
	return v.starts, nil
}

type verifier struct {
	section
	starts
	targets []int // of pointers forward, which are rare
}

func (v *verifier) value(at, nesting int) (next int, err error) {
	f, err := v.field(at)
	if err != nil {
		return 0, err
	}
	v.starts[at>>6] |= 1 << (at & 63)
	switch f.kind {
	case kindPointer:
		if f.size > at {
			v.targets = append(v.targets, f.size)
		} else if !v.has(f.size) {
			return 0, errors.New("its data has a pointer into the middle of a field")
		}
		return f.body, nil
	case kindBool:
		return f.body, nil
	case kindString:
		if !utf8.Valid(v.section[f.body : f.body+f.size]) {
			return 0, errors.New("its data has a string that is not UTF-8")
		}
	case kindMap, kindArray:
		return v.children(f, nesting)
	}
	return f.body + f.size, nil
}

// children verifies what is in a map or an array.
func (v *verifier) children(f field, nesting int) (at int, err error) {
	if nesting == maxNesting {
		return 0, errors.New("its data nests too deep")
	}
	at = f.body
	for range f.size {
		if f.kind == kindMap {
			if key, err := v.follow(at); err != nil || key.kind != kindString {
				return 0, errors.New("its data has a map with a key that is no string")
			}
			if at, err = v.value(at, nesting+1); err != nil {
				return 0, err
			}
		}
		if at, err = v.value(at, nesting+1); err != nil {
			return 0, err
		}
	}
	return at, nil
}
