package zone

import (
	"slices"
	"strings"
)

// maxEdit is how many bytes of text, old or new, are worth being read on their own.
const maxEdit = 64 << 10

// Edit gives what Parse would make of text, from z and the lines in which text differs from z's. Changed are the owners, folded,
// whose sets are not as before. ok is false where text has to be parsed from its beginning: z's is not canonical, much differs, or what
// differs cannot be read.
func (z *Zone) Edit(text string) (fresh *Zone, changed [][]byte, ok bool) {
	if !z.plain {
		return nil, nil, false
	}
	d := differ(z.text, text)
	if d.empty() {
		return z, nil, true
	}
	gone, there := z.text[d.start:d.oldEnd], text[d.start:d.newEnd]
	if max(len(gone), len(there)) > maxEdit {
		return nil, nil, false
	}
	before, _, okBefore := z.part(gone)
	after, plain, okAfter := z.part(there)
	at, found := z.place(ownerBefore(text, d.start), before)
	if !okBefore || !okAfter || !found || !plain {
		return nil, nil, false
	}
	fresh = &Zone{Origin: z.Origin, Apex: z.Apex, text: text, plain: true,
		Sets: slices.Concat(z.Sets[:at], after, z.Sets[at+len(before):])}
	return fresh, unlike(before, after), true
}

// part reads some lines. plain tells whether each is whole.
func (z *Zone) part(text string) (out []RRset, plain, ok bool) {
	rrs, problems := read(z.Origin, z.Origin, text)
	if len(problems) > 0 {
		return nil, false, false
	}
	out, err := sets(rrs)
	return out, plainLines(text, len(rrs)), err == nil
}

// place finds the sets of some lines, which come behind those of an owner; "": they are the first.
func (z *Zone) place(owner string, part []RRset) (at int, ok bool) {
	if owner != "" {
		wire, err := packName(owner)
		if err != nil {
			return 0, false
		}
		for at = len(z.Sets); at > 0 && string(z.Sets[at-1].Owner) != string(wire); at-- {
		}
		if at == 0 {
			return 0, false
		}
	}
	return at, at+len(part) <= len(z.Sets) && slices.EqualFunc(part, z.Sets[at:at+len(part)], sameSet)
}

func sameSet(a, b RRset) bool {
	return a.Type == b.Type && a.TTL == b.TTL && string(a.Owner) == string(b.Owner) && slices.EqualFunc(a.Data, b.Data, slices.Equal)
}

// unlike gives the owners that have other sets in a than in b, both of which are sorted by owner.
func unlike(a, b []RRset) (owners [][]byte) {
	groups := map[string][2][]RRset{}
	for side, list := range [2][]RRset{a, b} {
		for _, s := range list {
			g := groups[string(s.Owner)]
			g[side] = append(g[side], s)
			groups[string(s.Owner)] = g
		}
	}
	for owner, g := range groups {
		if !slices.EqualFunc(g[0], g[1], sameSet) {
			owners = append(owners, []byte(owner))
		}
	}
	slices.SortFunc(owners, slices.Compare)
	return owners
}

// difference is where two texts differ: whole lines, and all lines of an owner.
type difference struct{ start, oldEnd, newEnd int }

func (d difference) empty() bool { return d.start == d.oldEnd && d.start == d.newEnd }

func differ(a, b string) difference {
	start := commonPrefix(a, b)
	if start == len(a) && start == len(b) {
		return difference{start, start, start}
	}
	start = strings.LastIndexByte(a[:start], '\n') + 1
	same := commonSuffix(a[start:], b[start:])
	tail := a[len(a)-same:]
	tail = tail[strings.IndexByte(tail, '\n')+1:] // of "" when there is no whole line
	if same == 0 || !strings.HasSuffix(b, tail) {
		tail = ""
	}
	d := difference{start, len(a) - len(tail), len(b) - len(tail)}
	d.widen(a, b)
	return d
}

// widen takes in the other lines of the first and the last owner.
func (d *difference) widen(a, b string) {
	first := [2]string{ownerAt(a[d.start:d.oldEnd]), ownerAt(b[d.start:d.newEnd])}
	for owner := ownerBefore(a, d.start); owner != "" && (owner == first[0] || owner == first[1]); owner = ownerBefore(a, d.start) {
		d.start = strings.LastIndexByte(a[:d.start-1], '\n') + 1
	}
	last := [2]string{ownerBefore(a[d.start:d.oldEnd], d.oldEnd-d.start), ownerBefore(b[d.start:d.newEnd], d.newEnd-d.start)}
	for owner := ownerAt(a[d.oldEnd:]); owner != "" && (owner == last[0] || owner == last[1]); owner = ownerAt(a[d.oldEnd:]) {
		n := strings.IndexByte(a[d.oldEnd:], '\n') + 1
		d.oldEnd, d.newEnd = d.oldEnd+n, d.newEnd+n
	}
}

// ownerAt gives the owner of the first line.
func ownerAt(text string) string {
	owner, _, _ := strings.Cut(text, "\t")
	return owner
}

// ownerBefore gives the owner of the line that ends at an offset.
func ownerBefore(text string, end int) string {
	if end == 0 {
		return ""
	}
	return ownerAt(text[strings.LastIndexByte(text[:end-1], '\n')+1 : end])
}

// step is how many bytes are compared at a time.
const step = 4096

func commonPrefix(a, b string) int {
	n := 0
	for len(a)-n >= step && len(b)-n >= step && a[n:n+step] == b[n:n+step] {
		n += step
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for len(a)-n >= step && len(b)-n >= step && a[len(a)-n-step:len(a)-n] == b[len(b)-n-step:len(b)-n] {
		n += step
	}
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// plainLines tells whether text has so many records, and each is one line that depends on no other, as Canonical writes it.
func plainLines(text string, records int) bool {
	for text != "" {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended || !plainLine(line) {
			return false
		}
		text = rest
		records--
	}
	return records == 0
}

// plainLine tells whether a line begins with an absolute owner, a TTL and a class, separated by tabs.
func plainLine(line string) bool {
	owner, rest, _ := strings.Cut(line, "\t")
	if !strings.HasSuffix(owner, ".") || strings.HasSuffix(owner, `\.`) || owner[0] == '$' || strings.ContainsAny(owner, `();" `) {
		return false
	}
	n := 0
	for n < len(rest) && digit(rest[n]) {
		n++
	}
	return n > 0 && strings.HasPrefix(rest[n:], "\tIN\t")
}
