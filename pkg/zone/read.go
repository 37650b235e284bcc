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
	rr     dns.RR
	line   int      // where it ends in the file; 0: it was made
	labels []string // right to left, lower case
}

// maxGenerated bounds the records that $GENERATE makes in one file, beyond one for each line.
const maxGenerated = 1 << 18

// maxContent bounds a zone's content with all names written out, in bytes: a file of relative names below a long origin would
// otherwise become twenty times as large, in the memory of whoever reads it and in the store.
const maxContent = 256 << 20

// leastLine is what a line of canonical text has at least, beside its owner.
const leastLine = 10

func tooLarge(file string, line, most int) Problems {
	return Problems{{File: file, Line: line, Text: fmt.Sprintf("with all names written out it is larger than %d MiB: delegate a part of its names", most>>20)}}
}

// read parses a master file of which canonical text has most bytes at most; it may let one pass that is somewhat larger. $INCLUDE is
// refused: content travels without its folder; see Expand.
func read(origin, file, content string, most int) ([]record, Problems) {
	if line := badEscape(content); line > 0 {
		return nil, Problems{escapeProblem(file, line)}
	}
	var rrs []record
	lines := &lineReader{text: withGeneratedTTL(content)}
	p := dns.NewZoneParser(lines, origin, file)
	p.SetDefaultTTL(soaTTL)
	room, size := strings.Count(content, "\n")+1+maxGenerated, 0
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if room--; room < 0 {
			return nil, Problems{{File: file, Line: lines.line, Text: fmt.Sprintf("$GENERATE makes more than %d records: declare fewer, or write a wildcard", maxGenerated)}}
		}
		if size += len(rr.Header().Name) + leastLine; size > most {
			return nil, tooLarge(file, lines.line, most)
		}
		rrs = append(rrs, newRecord(rr, lines.line))
	}
	if err := p.Err(); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	return rrs, nil
}

func newRecord(rr dns.RR, line int) record {
	h := rr.Header()
	h.Name = oneWriting(h.Name)
	labels := dns.SplitDomainName(h.Name)
	slices.Reverse(labels)
	return record{rr, line, labels}
}

// lineReader reads a text byte by byte, as the parser then does too, and so knows the line that was read last.
type lineReader struct {
	text string
	line int
}

// Read is not used by the parser, which prefers ReadByte.
func (r *lineReader) Read(b []byte) (int, error) {
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

// hasTTL tells whether a TTL is among the two words behind an owner.
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
