package zone

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

// record is one record and what is needed to sort it and to speak of it.
type record struct {
	rr   dns.RR
	key  string // of its owner
	line int    // where it ends in the file; 0: it was made
}

// maxGenerated bounds the records that $GENERATE makes in one file, beyond one for each line.
const maxGenerated = 1 << 18

// maxContent bounds a zone's content with all names written out, in bytes: a file of relative names below a long origin would
// otherwise become twenty times as large, in the memory of whoever reads it and in the store.
const maxContent = 256 << 20

// leastLine is what a line of canonical text has at least, beside its owner.
const leastLine = 10

func tooLarge(file string, line, most int) Problems {
	return Problems{{File: file, Line: line,
		Text: fmt.Sprintf("with all names written out it is larger than %d MiB: delegate a part of its names", most>>20)}}
}

// read parses a master file of which canonical text has most bytes at most; it may let one pass that is somewhat larger. $INCLUDE is
// refused: content travels without its folder; see Expand. Behind a fault it goes on with the next record, so that all are told.
func read(origin, file, content string, most int) ([]record, Problems) {
	r := &reader{origin: origin, file: file, most: most, lines: &lineReader{text: withGeneratedTTL(content)}}
	r.left = strings.Count(content, "\n") + 1 + maxGenerated
	eachBadEscape(content, func(line int) bool {
		r.faults.add(escapeProblem(file, line))
		r.faults.rest = r.faults.full()
		return !r.faults.rest
	})
	for !r.done {
		r.records()
	}
	if len(r.faults.list) > 0 {
		return nil, r.faults.all(file)
	}
	return r.rrs, nil
}

// reader reads one master file.
type reader struct {
	origin, file string
	lines        *lineReader
	most         int // bytes of canonical text
	left, size   int // records that may still come, and bytes of those that came
	any, done    bool
	rrs          []record
	faults       found
}

// owner makes a record stand before where reading goes on, for one there that begins with a blank has the owner of the one before.
const owner = "@ 0 IN TXT x\n"

// records reads up to the end or a fault, and behind that goes to the next record.
func (r *reader) records() {
	if r.lines.line > 0 {
		r.lines.head = owner
	}
	p := dns.NewZoneParser(r.lines, r.origin, r.file)
	p.SetDefaultTTL(soaTTL)
	if r.lines.head != "" {
		p.Next()
	}
	begin, first := r.lines.text, r.lines.line // the record that is read next, and how many lines stand before it
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if begin, first = r.lines.text, r.lines.line; !r.take(rr) {
			return
		}
	}
	r.done = true
	err := p.Err()
	if err == nil {
		return
	}
	f := syntaxProblem(r.file, err)
	if !r.any { // whatever this is, it may be a secret
		f.Text = unquoted(f.Text)
	}
	at, end := faulty(begin, len(begin)-len(r.lines.text))
	f.Line = first + lineAt(begin, at)
	r.faults.add(f)
	if end < len(begin) {
		r.done = r.faults.full()
		r.faults.rest = r.done
		r.lines.line = first + strings.Count(begin[:end], "\n")
		r.lines.text = begin[end:]
	}
}

// faulty finds the record that cannot be read in a text of which so much was read: it gives where the fault was seen and where
// the record ends. What stands before it there are directives and comments; one that lacks data may only be seen to in the next line.
func faulty(text string, read int) (at, end int) {
	for end < read {
		line := text[end:]
		n := recordEnd(line)
		end += n
		if bare := strings.TrimSpace(line[:n]); bare != "" && bare[0] != ';' && line[0] != '$' {
			break
		}
	}
	return min(read, end), end
}

// lineAt gives the number, from 1, of the line that the byte before an offset stands in.
func lineAt(text string, at int) int {
	return 1 + strings.Count(text[:max(0, at-1)], "\n")
}

// take keeps a record, unless there are too many.
func (r *reader) take(rr dns.RR) bool {
	r.any = true
	switch r.left--; {
	case r.left < 0:
		r.faults.list = Problems{{File: r.file, Line: r.lines.line,
			Text: fmt.Sprintf("$GENERATE makes more than %d records: declare fewer, or write a wildcard", maxGenerated)}}
	case r.size+len(rr.Header().Name)+leastLine > r.most:
		r.faults.list = tooLarge(r.file, r.lines.line, r.most)
	default:
		r.size += len(rr.Header().Name) + leastLine
		if len(r.faults.list) > 0 {
			r.rrs = nil // nothing becomes of them
			return true
		}
		r.rrs = append(r.rrs, r.record(rr))
		return true
	}
	r.done = true
	return false
}

// recordEnd gives where the first record ends: at the end of a line, outside of quotes and parentheses.
func recordEnd(text string) int {
	quoted, comment, depth := false, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			if comment = false; !quoted && depth == 0 {
				return i + 1
			}
		case comment:
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			comment = true
		case c == '(':
			depth++
		case c == ')':
			depth = max(0, depth-1)
		}
	}
	return len(text)
}

// unquoted gives what the parser says of a fault without what it read there.
func unquoted(text string) string {
	what, _, _ := strings.Cut(text, "\"")
	return strings.TrimRight(what, ": ") + ": this is no record of a master file"
}

// record takes in what was read. Records that follow each other have their owner in common where it is one.
func (r *reader) record(rr dns.RR) record {
	h := rr.Header()
	h.Name = oneWriting(h.Name)
	if n := len(r.rrs); n > 0 && r.rrs[n-1].rr.Header().Name == h.Name {
		h.Name = r.rrs[n-1].rr.Header().Name
		return record{rr, r.rrs[n-1].key, r.lines.line}
	}
	return record{rr, keyOf(h.Name), r.lines.line}
}

// lineReader reads a text byte by byte, as the parser then does too, and so knows the line that was read last.
type lineReader struct {
	head string // comes first, and is not counted
	text string
	line int
}

// Read is not used by the parser, which prefers ReadByte.
func (r *lineReader) Read(b []byte) (int, error) {
	if r.head != "" {
		n := copy(b, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(b, r.text)
	r.line += strings.Count(r.text[:n], "\n")
	r.text = r.text[n:]
	return n, nil
}

// ReadByte gives the next byte.
func (r *lineReader) ReadByte() (byte, error) {
	if r.head != "" {
		c := r.head[0]
		r.head = r.head[1:]
		return c, nil
	}
	if r.text == "" {
		return 0, io.EOF
	}
	c := r.text[0]
	r.text = r.text[1:]
	if c == '\n' {
		r.line++
	}
	return c, nil
}

// withGeneratedTTL writes the $TTL that holds into $GENERATE lines that have none, since the parser would forget it.
func withGeneratedTTL(content string) string {
	if !strings.Contains(content, "$GENERATE") {
		return content
	}
	var b strings.Builder
	ttl := ""
	for line := range strings.Lines(content) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == "$TTL" && line[0] == '$':
			ttl = f[1]
		case len(f) >= 5 && f[0] == "$GENERATE" && line[0] == '$' && ttl != "" && !hasTTL(f[3], f[4]):
			line = strings.Join(slices.Insert(f, 3, ttl), " ") + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// hasTTL reports whether a TTL is among the two words behind an owner.
func hasTTL(first, second string) bool {
	if _, class := dns.StringToClass[strings.ToUpper(first)]; class {
		first = second
	}
	return first[0] >= '0' && first[0] <= '9'
}

// oneWriting gives a name in lower case with as few escapes as can be: \*.a and *.a are one name.
func oneWriting(name string) string {
	wire, err := packName(name)
	if err != nil {
		return dns.CanonicalName(name) // told later
	}
	return dnswire.NameString(wire)
}

// atLine is how the parser ends its errors.
var atLine = regexp.MustCompile(` at line: (\d+):\d+$`)

// syntaxProblem takes the parser's error apart: file: dns: what: "token" at line: 4:12.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Text: strings.TrimPrefix(strings.TrimPrefix(err.Error(), file+": "), "dns: ")}
	if m := atLine.FindStringSubmatch(p.Text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = strings.TrimSuffix(p.Text, m[0])
	}
	return p
}
