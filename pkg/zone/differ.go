package zone

import "strings"

// hunk is where two texts differ: whole lines, and all lines of an owner that stand together.
type hunk struct{ old, oldEnd, new, newEnd int }

// How many hunks two texts may have, and how many lines a hunk, before all that follows is one.
const (
	maxHunks     = 64
	maxHunkLines = 64
)

// differ finds where b differs from a.
func differ(a, b string) []hunk {
	if a == b {
		return nil
	}
	tail := lineTail(a, b)
	endA, endB := len(a)-tail, len(b)-tail
	var hunks []hunk
	for old, fresh := 0, 0; ; {
		same := commonPrefix(a[old:endA], b[fresh:endB])
		if old+same == endA && fresh+same == endB {
			return hunks
		}
		same = strings.LastIndexByte(a[old:old+same], '\n') + 1
		h := hunk{old + same, endA, fresh + same, endB}
		if n, m, ok := meet(a[h.old:endA], b[h.new:endB]); ok && len(hunks) < maxHunks {
			h.oldEnd, h.newEnd = h.old+n, h.new+m
		}
		h.widen(a, b, old)
		old, fresh = h.oldEnd, h.newEnd
		if n := len(hunks); n > 0 && hunks[n-1].oldEnd == h.old {
			hunks[n-1].oldEnd, hunks[n-1].newEnd = h.oldEnd, h.newEnd
		} else {
			hunks = append(hunks, h)
		}
		if old > endA || fresh > endB { // widened into the tail, perhaps not by as much in both
			endA, endB = len(a), len(b)
		}
	}
}

// lineTail gives the length of the lines with which both texts end.
func lineTail(a, b string) int {
	same := commonSuffix(a, b)
	if same == len(a) || same == len(b) {
		same = max(0, same-1) // its first byte need not be the first of a line
	}
	cut := strings.IndexByte(a[len(a)-same:], '\n') + 1
	if cut == 0 {
		return 0
	}
	return same - cut
}

// meet finds the next line that both texts have: how far it is in each.
func meet(a, b string) (n, m int, ok bool) {
	seen := map[string]int{}
	for off, i := 0, 0; off < len(b) && i < maxHunkLines; i++ {
		line := firstLine(b[off:])
		if _, twice := seen[line]; !twice {
			seen[line] = off
		}
		off += len(line)
	}
	for off, i := 0, 0; off < len(a) && i < maxHunkLines; i++ {
		line := firstLine(a[off:])
		if at, has := seen[line]; has {
			return off, at, true
		}
		off += len(line)
	}
	return 0, 0, false
}

// firstLine gives the first line, with what ends it.
func firstLine(text string) string {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return text[:i+1]
	}
	return text
}

// widen takes in the other lines of the first and the last owner, but none before floor.
func (h *hunk) widen(a, b string, floor int) {
	first := [2]string{ownerAt(a[h.old:h.oldEnd]), ownerAt(b[h.new:h.newEnd])}
	for h.old > floor {
		owner := ownerBefore(a, h.old)
		if owner != first[0] && owner != first[1] {
			break
		}
		n := h.old - (strings.LastIndexByte(a[:h.old-1], '\n') + 1)
		h.old, h.new = h.old-n, h.new-n
	}
	last := [2]string{ownerBefore(a[h.old:h.oldEnd], h.oldEnd-h.old), ownerBefore(b[h.new:h.newEnd], h.newEnd-h.new)}
	for h.oldEnd < len(a) && h.newEnd < len(b) {
		line := firstLine(a[h.oldEnd:])
		if owner := ownerAt(line); line != firstLine(b[h.newEnd:]) || owner != last[0] && owner != last[1] {
			break
		}
		h.oldEnd, h.newEnd = h.oldEnd+len(line), h.newEnd+len(line)
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
