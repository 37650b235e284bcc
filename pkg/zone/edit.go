package zone

import (
	"math"
	"slices"
	"sort"
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
	hunks := differ(z.text, text)
	if len(hunks) == 0 {
		return z, nil, true
	}
	fresh = &Zone{Origin: z.Origin, Apex: z.Apex, text: text, plain: true, Sets: make([]RRset, 0, len(z.Sets)+len(hunks))}
	taken := 0 // of z.Sets
	for _, h := range hunks {
		if max(h.oldEnd-h.old, h.newEnd-h.new) > maxEdit {
			return nil, nil, false
		}
		before, _, okBefore := z.part(z.text[h.old:h.oldEnd])
		after, plain, okAfter := z.part(text[h.new:h.newEnd])
		at, found := z.locate(ownerBefore(z.text, h.old), before)
		if !okBefore || !okAfter || !plain || !found || at < taken {
			return nil, nil, false
		}
		fresh.Sets = append(fresh.Sets, z.Sets[taken:at]...)
		first := max(0, len(fresh.Sets)-1)
		apartBefore := apart(fresh.Sets, after)
		fresh.Sets = append(fresh.Sets, after...)
		taken = at + len(before)
		if !apartBefore || !apart(fresh.Sets, z.Sets[taken:]) || !sorted(fresh.Sets[first:], z.Sets[taken:min(taken+1, len(z.Sets))]) {
			return nil, nil, false
		}
		changed = append(changed, unlike(before, after)...)
	}
	fresh.Sets = append(fresh.Sets, z.Sets[taken:]...)
	return fresh, changed, true
}

// part reads some lines. plain reports whether each is whole.
func (z *Zone) part(text string) (out []RRset, plain, ok bool) {
	rrs, problems := read(z.Origin, z.Origin, text, math.MaxInt)
	if len(problems) > 0 {
		return nil, false, false
	}
	out, err := sets(rrs)
	return out, plainLines(text, len(rrs)), err == nil
}

// locate finds the sets of some lines, which come behind those of an owner; "": they are the first.
func (z *Zone) locate(owner string, part []RRset) (at int, ok bool) {
	if owner != "" {
		wire, err := packName(owner)
		if err != nil {
			return 0, false
		}
		at = sort.Search(len(z.Sets), func(i int) bool { return CompareNames(z.Sets[i].Owner, wire) > 0 })
	}
	return at, at+len(part) <= len(z.Sets) && slices.EqualFunc(part, z.Sets[at:at+len(part)], sameSet)
}

// sorted reports whether sets stand in the order of their owners.
func sorted(lists ...[]RRset) bool {
	var last []byte
	for _, list := range lists {
		for i := range list {
			if last != nil && string(last) != string(list[i].Owner) && CompareNames(last, list[i].Owner) > 0 {
				return false
			}
			last = list[i].Owner
		}
	}
	return true
}

// apart reports whether a's last owner differs from b's first. Texts can differ (www, \119ww) and still name one owner, whose lines must
// be read together.
func apart(a, b []RRset) bool {
	return len(a) == 0 || len(b) == 0 || string(a[len(a)-1].Owner) != string(b[0].Owner)
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

// plainLines reports whether text has so many records, and each is one line that depends on no other, as Canonical writes it.
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

// plainLine reports whether a line begins with an absolute owner, a TTL and a class, separated by tabs.
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
