package dnssec

import "slices"

// layout tells where in an RDATA the names stand whose letters canonical form lowers: names of them, behind
// skip bytes.
type layout struct{ skip, names int }

// layouts are the types of RFC 4034, 6.2, without those that RFC 6840, 5.1 takes out (HINFO and NSEC), and
// without NAPTR and A6, whose names have no fixed place.
var layouts = map[uint16]layout{
	2: {0, 1}, 3: {0, 1}, 4: {0, 1}, 5: {0, 1}, // NS, MD, MF, CNAME
	6: {0, 2}, 7: {0, 1}, 8: {0, 1}, 9: {0, 1}, // SOA, MB, MG, MR
	12: {0, 1}, 14: {0, 2}, 15: {2, 1}, 17: {0, 2}, // PTR, MINFO, MX, RP
	18: {2, 1}, 21: {2, 1}, 24: {18, 1}, 26: {2, 2}, // AFSDB, RT, SIG, PX
	30: {0, 1}, 33: {6, 1}, 36: {2, 1}, 39: {0, 1}, // NXT, SRV, KX, DNAME
	46: {18, 1}, // RRSIG
}

const (
	typeNAPTR = 35
	typeA6    = 38
)

// Canonical gives an RDATA in canonical form: in the types of RFC 4034, 6.2 (as RFC 6840, 5.1 corrects it)
// the letters of names are lowered. What is canonical already, or cannot be read, comes back as it is.
func Canonical(typ uint16, rdata []byte) []byte {
	where, ok := layouts[typ]
	switch {
	case typ == typeNAPTR:
		where, ok = layout{skipStrings(rdata, 4, 3), 1}, true
	case typ == typeA6 && len(rdata) > 0 && rdata[0] <= 128:
		where, ok = layout{1 + (128-int(rdata[0])+7)/8, 1}, true
	}
	if !ok {
		return rdata
	}
	end := where.skip
	for range where.names {
		for end < len(rdata) && rdata[end] != 0 {
			if rdata[end] > 63 {
				return rdata
			}
			end += 1 + int(rdata[end])
		}
		end++
	}
	if end > len(rdata) || !slices.ContainsFunc(rdata[where.skip:end], upper) {
		return rdata
	}
	lowered := slices.Clone(rdata)
	for i, c := range lowered[where.skip:end] { // lengths of labels are below 'A'
		if upper(c) {
			lowered[where.skip+i] = c | 0x20
		}
	}
	return lowered
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// skipStrings gives the offset behind n character strings that begin at off.
func skipStrings(rdata []byte, off, n int) int {
	for range n {
		if off >= len(rdata) {
			return len(rdata) + 1
		}
		off += 1 + int(rdata[off])
	}
	return off
}
