package zone

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxIncluded bounds a master file with what it includes, in bytes: it is what one without includes may have.
const maxIncluded = 256 << 20

// Sources says where each line of an expanded text comes from.
type Sources struct {
	files []string
	at    []source
}

// source is a file's number and a line of it.
type source struct{ file, line int32 }

// Of gives the file and the line in it from which a line of the text, from 1, was made; line 0 where there is no such line.
func (p *Sources) Of(line int) (file string, in int) {
	if p == nil || line < 1 || line > len(p.at) {
		return "", 0
	}
	at := p.at[line-1]
	return p.files[at.file], int(at.line)
}

// Expand gives the content of a master file with what it includes ($INCLUDE, RFC 1035, 5.1) in its place, one record a line, and where
// each stood. It opens nothing but files of folder; name is that of the master file there. Includes are at most seven deep, so loops
// end. A content that includes nothing comes back as it is, without sources. An error is a Problems with all faults, whose files are
// names in folder.
func Expand(origin, name, content string, folder fs.FS) (string, *Sources, error) {
	return expand(origin, name, content, folder, maxIncluded)
}

// expand is Expand with a limit, in bytes.
func expand(origin, name, content string, folder fs.FS, most int64) (string, *Sources, error) {
	if !strings.Contains(content, "$INCLUDE") {
		return content, nil, nil
	}
	x := &expansion{origin: oneWriting(origin), name: name, folder: folder, most: most, texts: map[string]string{}}
	x.keep(name, content)
	for {
		text, sources, fault := x.pass()
		if fault == nil && len(x.faults.list) == 0 {
			return text, sources, nil
		}
		if fault != nil {
			if !slices.Contains(x.faults.list, *fault) {
				x.faults.add(*fault)
			}
			// what stands behind is looked for without the record at fault, unless that takes too long
			x.faults.rest = x.faults.full() || x.read > most || !x.blank(fault.File, fault.Line)
		}
		if fault == nil || x.faults.rest {
			return "", nil, x.faults.all(name)
		}
	}
}

// expansion reads a master file and what it includes, more than once where there are faults.
type expansion struct {
	origin, name string
	folder       fs.FS
	most         int64             // bytes of all files, and of all records
	read         int64             // bytes that were read in all passes
	any          bool              // a record was read before the first fault
	texts        map[string]string // by file, without the records at fault that are known
	faults       found
}

// pass reads up to the first fault.
func (x *expansion) pass() (string, *Sources, *Problem) {
	files := &includes{expansion: x, left: x.most, numbers: map[string]int32{}}
	p := dns.NewZoneParser(files.file(x.name, x.texts[x.name]), x.origin, x.name)
	p.SetDefaultTTL(soaTTL)
	p.SetIncludeAllowed(true)
	p.SetIncludeFS(files)
	var b strings.Builder
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if b.WriteString(rr.String()); int64(b.Len()) > x.most {
			return "", nil, &Problem{File: x.name, Text: fmt.Sprintf("what it includes and generates is larger than %d MiB", x.most>>20)}
		}
		b.WriteByte('\n')
		files.sources.at = append(files.sources.at, source{files.last.number, int32(files.last.line)})
	}
	x.any = x.any || len(x.faults.list) == 0 && b.Len() > 0
	if err := p.Err(); err != nil {
		fault := x.problem(err)
		return "", nil, &fault
	}
	return b.String(), &files.sources, nil
}

// problem names the file, which may be one that was included. What was read of a file that may be any of the folder is not told.
func (x *expansion) problem(err error) Problem {
	file, _, ok := strings.Cut(err.Error(), ": dns: ")
	if !ok {
		return syntaxProblem(x.name, err)
	}
	p := syntaxProblem(file, err)
	if file != x.name || !x.any {
		p.Text = unquoted(p.Text)
	}
	return p
}

// keep holds a file's text, and tells its bad escapes.
func (x *expansion) keep(name, text string) {
	var lines []int
	eachBadEscape(text, func(line int) bool { lines = append(lines, line); return len(lines) <= maxProblems })
	x.texts[name] = withGeneratedTTL(text)
	for _, line := range lines {
		x.faults.add(escapeProblem(name, line))
		x.blank(name, line)
	}
}

// standIn takes the place of a record at fault: one that begins with a blank behind it has an owner.
const standIn = "@ 0 IN TXT x"

// blank takes away the record on a line of a file, or the one before where that line has none, since a record that lacks data may only
// be seen to in the next line. It reports whether there was one. All others stay on their lines.
func (x *expansion) blank(name string, line int) bool {
	text := x.texts[name]
	begin, end := 0, 0
	for at, first := 0, 1; at < len(text) && first <= line; {
		n := recordEnd(text[at:])
		record := text[at : at+n]
		if bare := strings.TrimSpace(record); bare != "" && bare[0] != ';' && !strings.HasPrefix(record, standIn+"\n") {
			begin, end = at, at+n
		}
		at, first = at+n, first+strings.Count(record, "\n")
	}
	if line < 1 || end == 0 {
		return false
	}
	instead := standIn
	if text[begin] == '$' {
		instead = ""
	}
	x.texts[name] = text[:begin] + instead + strings.Repeat("\n", max(1, strings.Count(text[begin:end], "\n"))) + text[end:]
	return true
}

// includes opens files of a folder, and reads them whole and only so much of them all.
type includes struct {
	*expansion
	left    int64 // bytes that may still come
	sources Sources
	numbers map[string]int32 // of the files among sources
	last    *included        // the file that was read from last
}

// Open gives a file that is already read.
func (f *includes) Open(name string) (fs.File, error) {
	if _, kept := f.texts[name]; !kept {
		file, err := f.folder.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, f.left+1))
		if err != nil {
			return nil, err
		}
		if int64(len(data)) > f.left {
			return nil, f.tooLarge()
		}
		f.keep(name, string(data))
	}
	if f.left -= int64(len(f.texts[name])); f.left < 0 {
		return nil, f.tooLarge()
	}
	return f.file(name, f.texts[name]), nil
}

func (f *includes) tooLarge() error {
	return fmt.Errorf("the included files are larger than %d MiB together", f.most>>20)
}

// file gives a text to be read.
func (f *includes) file(name, text string) *included {
	number, known := f.numbers[name]
	if !known {
		number = int32(len(f.numbers))
		f.numbers[name] = number
		f.sources.files = append(f.sources.files, name)
	}
	f.read += int64(len(text))
	return &included{lineReader: lineReader{text: text}, of: f, number: number}
}

// included is a file in memory.
type included struct {
	lineReader
	of     *includes
	number int32
}

// ReadByte gives the next byte.
func (f *included) ReadByte() (byte, error) {
	if f.text != "" {
		f.of.last = f
	}
	return f.lineReader.ReadByte()
}

// Stat is not used by the parser.
func (*included) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Close does nothing.
func (*included) Close() error { return nil }
