package zone

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/miekg/dns"
)

// maxIncluded bounds a master file with what it includes, in bytes: it is what one without includes may have.
const maxIncluded = 256 << 20

// Expand gives the content of a master file with what it includes ($INCLUDE, RFC 1035, 5.1) in its place, one record a line. It
// opens nothing but files of folder; name is that of the master file there. Includes are at most seven deep, so loops
// end. A content that includes nothing comes back as it is. An error is a Problems, whose files are names in folder.
func Expand(origin, name, content string, folder fs.FS) (string, error) {
	return expand(origin, name, content, folder, maxIncluded)
}

// expand is Expand with a limit, in bytes.
func expand(origin, name, content string, folder fs.FS, most int64) (string, error) {
	if !strings.Contains(content, "$INCLUDE") {
		return content, nil
	}
	if line := badEscape(content); line > 0 {
		return "", Problems{escapeProblem(name, line)}
	}
	files := &includes{folder: folder, room: most, most: most}
	p := dns.NewZoneParser(strings.NewReader(withGeneratedTTL(content)), oneWriting(origin), name)
	p.SetDefaultTTL(soaTTL)
	p.SetIncludeAllowed(true)
	p.SetIncludeFS(files)
	var b strings.Builder
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if b.WriteString(rr.String()); int64(b.Len()) > most {
			return "", Problems{{File: name, Text: fmt.Sprintf("what it includes and generates is larger than %d MiB", most>>20)}}
		}
		b.WriteByte('\n')
	}
	if err := p.Err(); err != nil {
		return "", Problems{includeProblem(name, b.Len() > 0, err)}
	}
	return b.String(), nil
}

// includeProblem names the file, which may be one that was included. What was read of a file that may be any of the folder is not told.
func includeProblem(name string, any bool, err error) Problem {
	file, _, ok := strings.Cut(err.Error(), ": dns: ")
	if !ok {
		return syntaxProblem(name, err)
	}
	p := syntaxProblem(file, err)
	if file != name || !any {
		p.Text = unquoted(p.Text)
	}
	return p
}

// includes opens files of a folder, and reads them whole and only so much of them all.
type includes struct {
	folder fs.FS
	room   int64 // bytes that may still come
	most   int64 // bytes of all
}

// Open gives a file that is already read.
func (f *includes) Open(name string) (fs.File, error) {
	file, err := f.folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, f.room+1))
	if err != nil {
		return nil, err
	}
	if f.room -= int64(len(data)); f.room < 0 {
		return nil, fmt.Errorf("the included files are larger than %d MiB together", f.most>>20)
	}
	if line := badEscape(string(data)); line > 0 {
		return nil, fmt.Errorf("%s", escapeProblem(path.Base(name), line))
	}
	return &included{strings.NewReader(withGeneratedTTL(string(data)))}, nil
}

// included is a file in memory.
type included struct{ io.Reader }

// Stat is not used by the parser.
func (*included) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Close does nothing.
func (*included) Close() error { return nil }
