package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// fold lowers the letters A to Z among eight bytes. The lengths of labels are below 'A', so that whole names
// can be folded without looking at their labels.
func fold(w uint64) uint64 {
	low := w &^ highs
	fromA := low + ones*(0x80-'A')        // sets a byte's high bit if it is at least 'A'
	pastZ := low + ones*(0x80-'Z'-1)      // likewise above 'Z'
	upper := (fromA ^ pastZ) &^ w & highs // and is ASCII
	return w | upper>>2
}

// foldInto copies the name that reaches from the end of the header to the end of msg, folded, and zeroes the
// rest of its last eight bytes.
func foldInto(dst *[256]byte, msg []byte) {
	n := len(msg) - headerLen
	i := 0
	for ; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], fold(binary.LittleEndian.Uint64(msg[headerLen+i:])))
	}
	if i < n {
		// The eight bytes that end with the name; the header is in front of it, so they are there.
		w := binary.LittleEndian.Uint64(msg[len(msg)-8:]) >> (64 - 8*(n-i))
		binary.LittleEndian.PutUint64(dst[i:], fold(w))
	}
}

// FoldName lowers the letters of a name in wire form, in place (RFC 4343).
func FoldName(wire []byte) {
	for len(wire) >= 8 {
		binary.LittleEndian.PutUint64(wire, fold(binary.LittleEndian.Uint64(wire)))
		wire = wire[8:]
	}
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c | 0x20
		}
	}
}

// What can be wrong with a name.
var (
	errEmptyName  = errors.New("the name is empty; the root is written as a single dot")
	errEmptyLabel = errors.New("two dots stand together, or one in front")
	errLongLabel  = errors.New("a label is longer than 63 bytes")
	errLongName   = errors.New("longer than 255 bytes in wire form")
	errEscape     = errors.New(`a backslash needs a character, or three digits up to 255, behind it`)
)

// AppendName appends a name given as text, with the escapes \. and \DDD of RFC 1035, 5.1, in wire form. The
// final dot may be left out; every name is taken as absolute. Case is kept. With an error, dst comes back as
// it was.
func AppendName(dst []byte, presentation string) ([]byte, error) {
	if presentation == "." {
		return append(dst, 0), nil
	}
	b, err := appendLabels(dst, presentation)
	if err != nil {
		return dst, fmt.Errorf("name %q: %w", presentation, err)
	}
	return b, nil
}

func appendLabels(dst []byte, s string) ([]byte, error) {
	if s == "" {
		return nil, errEmptyName
	}
	start := len(dst)  // of the name
	length := len(dst) // where the label's length goes
	dst = append(dst, 0)
	for i := 0; i < len(s); {
		c := s[i]
		if c == '.' {
			if len(dst) == length+1 {
				return nil, errEmptyLabel
			}
			length = len(dst)
			dst = append(dst, 0)
			i++
			continue
		}
		c, n := unescape(s[i:])
		if n == 0 {
			return nil, errEscape
		}
		dst = append(dst, c)
		i += n
		size := len(dst) - length - 1
		if size > maxLabel {
			return nil, errLongLabel
		}
		if len(dst)-start >= maxName { // the root does not fit any more
			return nil, errLongName
		}
		dst[length] = byte(size)
	}
	if len(dst) > length+1 { // no final dot: the root is still missing
		dst = append(dst, 0)
	}
	return dst, nil
}

// unescape gives the first byte that s means, and how many bytes of s say it: none when it is a bad escape.
func unescape(s string) (c byte, n int) {
	if s[0] != '\\' {
		return s[0], 1
	}
	if len(s) < 2 {
		return 0, 0
	}
	if !digit(s[1]) {
		return s[1], 2
	}
	if len(s) < 4 || !digit(s[2]) || !digit(s[3]) {
		return 0, 0
	}
	v := int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	if v > 255 {
		return 0, 0
	}
	return byte(v), 4
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// NameString gives a name in wire form as text, with escapes and the final dot. It reads up to the root, or
// to where wire ends.
func NameString(wire []byte) string {
	if len(wire) == 0 || wire[0] == 0 {
		return "."
	}
	b := make([]byte, 0, len(wire)+8)
	for len(wire) > 0 && wire[0] != 0 {
		n := min(int(wire[0]), len(wire)-1)
		for _, c := range wire[1 : 1+n] {
			b = appendEscaped(b, c)
		}
		b = append(b, '.')
		wire = wire[1+n:]
	}
	return string(b)
}

func appendEscaped(b []byte, c byte) []byte {
	switch {
	case c < '!' && c != ' ' || c > '~':
		return append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
	case c == '.' || c == '\\' || c == '"' || c == '\'' || c == '(' || c == ')' || c == ';' || c == '@' || c == ' ':
		return append(b, '\\', c)
	}
	return append(b, c)
}
