package mapfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"strings"
)

// How much the files of an edge may hold together.
const (
	MaxNetworks = 5_000_000
	MaxNames    = 10_000
)

// hole is the name of no map.
const hole = "-"

// maxLine is how long a line may be, in bytes.
const maxLine = 4096

// Fault is what is wrong with a line.
type Fault struct {
	File string
	Line int
	Text string
}

// Faults are what is wrong with a file: the first of them, and how many there are.
type Faults struct {
	List  []Fault
	Count int
}

// maxFaults is how many faults are kept.
const maxFaults = 20

// toldFaults is how many of them an error tells.
const toldFaults = 3

// Error tells the first faults in one line.
func (f *Faults) Error() string {
	var parts []string
	for _, x := range f.List[:min(len(f.List), toldFaults)] {
		parts = append(parts, fmt.Sprintf("line %d: %s", x.Line, x.Text))
	}
	if more := f.Count - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("map file %s: %s", f.List[0].File, strings.Join(parts, "; "))
}

// content is what one file holds.
type content struct {
	info  Info
	names []string // as they came; the first is that of holes
	nets  []network
}

// network is one line.
type network struct {
	address
	line uint32 // in readers; else the number of the file
	name uint16 // of names
	bits uint8
	v4   bool
}

// address is one of either family, IPv4 in the upper half of hi.
type address struct{ hi, lo uint64 }

// readFile reads one file. The error is a Faults, or that of the system.
func readFile(name string) (*content, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("map file: %w", err)
	}
	defer f.Close()
	return read(name, f)
}

// read reads what stands in a file.
func read(name string, in io.Reader) (*content, error) {
	sum := sha256.New()
	r := reader{file: name, names: []string{hole}, ids: map[string]uint16{hole: 0}}
	lines := bufio.NewScanner(io.TeeReader(in, sum))
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		if r.line++; r.line == math.MaxUint32 || len(r.nets) > MaxNetworks {
			r.fail(r.line, fmt.Sprintf("there are more than %d networks: take some out", MaxNetworks))
			break
		}
		r.take(lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		r.fail(r.line+1, fmt.Sprintf("it is longer than %d bytes", maxLine))
	case err != nil:
		return nil, fmt.Errorf("map file %s: %w", name, err)
	}
	order(r.nets)
	r.unite()
	if r.faults.Count > 0 {
		return nil, &r.faults
	}
	info := Info{File: name, Lines: int(r.line), Networks: len(r.nets), Repeated: r.repeated, Names: len(r.names) - 1,
		SHA256: hex.EncodeToString(sum.Sum(nil))}
	return &content{info, r.names, r.nets}, nil
}

// reader reads one file.
type reader struct {
	file     string
	line     uint32 // the present one's number
	names    []string
	ids      map[string]uint16
	nets     []network
	repeated int // lines that say again what another one says
	faults   Faults
}

func (r *reader) fail(line uint32, text string) {
	if r.faults.Count++; len(r.faults.List) < maxFaults {
		r.faults.List = append(r.faults.List, Fault{r.file, int(line), text})
	}
}

// take reads a line.
func (r *reader) take(line []byte) {
	line, _, _ = bytes.Cut(line, []byte("#"))
	if i := bytes.IndexByte(line, ','); i >= 0 {
		line[i] = ' '
	}
	text, rest := word(line)
	if len(text) == 0 {
		return
	}
	name, rest := word(rest)
	if rest, _ = word(rest); len(name) == 0 || len(rest) > 0 {
		r.fail(r.line, "write a network and a name, as in: 192.0.2.0/24 offices")
		return
	}
	n := network{line: r.line}
	if fault := n.read(text); fault != "" {
		r.fail(r.line, fault)
		return
	}
	id, known := r.ids[string(name)]
	if !known {
		if !isName(name) {
			r.fail(r.line, fmt.Sprintf("%q is no name: it is of a-z, 0-9 and -, at most 63 letters", clip(name)))
			return
		}
		if len(r.names) > MaxNames {
			r.fail(r.line, fmt.Sprintf("%q is one name too many: there can be %d", name, MaxNames))
			return
		}
		id = uint16(len(r.names))
		r.names = append(r.names, string(name))
		r.ids[string(name)] = id
	}
	n.name = id
	r.nets = append(r.nets, n)
}

// word cuts off the first word of a line.
func word(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r")
	if end := bytes.IndexAny(b, " \t\r"); end >= 0 {
		return b[:end], b[end:]
	}
	return b, nil
}

// clip shortens what people are told of a line.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// read reads a network, or an address, which stands for itself alone. The fault is empty where there is none.
func (n *network) read(text []byte) (fault string) {
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		a, err := netip.ParseAddr(string(text))
		if err != nil || a.Zone() != "" {
			return fmt.Sprintf("%q is no network: write it as in 192.0.2.0/24", clip(text))
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return fmt.Sprintf("%s is an IPv4 network in IPv6 form: write it in IPv4 form", p)
	case p != p.Masked():
		return fmt.Sprintf("%s has bits set behind its length: write %s", p, p.Masked())
	}
	n.address, n.bits, n.v4 = addressOf(p.Addr()), uint8(p.Bits()), p.Addr().Is4()
	return ""
}

// isName reports whether a map can have the name.
func isName(name []byte) bool {
	if len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// unite leaves one of equal networks, which stand side by side, and fails where they disagree.
func (r *reader) unite() {
	kept := r.nets[:0]
	for _, n := range r.nets {
		if len(kept) == 0 || !kept[len(kept)-1].equals(&n) {
			kept = append(kept, n)
			continue
		}
		if first := &kept[len(kept)-1]; first.name != n.name {
			r.fail(n.line, fmt.Sprintf("%s belongs to %s, and to %s by line %d: keep one of them", n.prefix(), r.names[n.name],
				r.names[first.name], first.line))
		}
		r.repeated++
	}
	r.nets = kept
}
