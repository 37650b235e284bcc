package pkg_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A part is some files of a package that belong together: names without ".go", or patterns as of path.Match. Where a name and a pattern
// fit, the name counts.
type part struct{ name, files string }

// The parts of packages that have some, lowest first: what a file uses of another one shall stand in its own part, or in one before.
// Every file of a package listed here belongs to just one part.
var parts = map[string][]part{
	"pkg/store": {
		{"the client", "client errors"},
		{"reading", "read identity"},
		{"following", "follow delta"},
		{"writing", "judge commit verdicts keysets"},
		{"the world", "signals observe release edges vantage elected"},
	},
	"pkg/table": { // what a query runs; below it names, rr, draws and zones, above it compile: see the packages in its folder
		{"clients, services and nodes", "client service node near"},
		{"views", "view outward doc"},
		{"decisions", "decision steering"},
		{"on the way to an answer", "path"},
		{"for people and secondaries", "explain text drawn records shares"},
	},
	"pkg/table/compile": { // writes
		{"what is told and known", "news state"},
		{"aliases", "alias"},
		{"compiled ahead, and partitions", "near divide geo ahead"},
		{"pools and nodes", "nodes pools policies standby"},
		{"zones", "serial zones"},
		{"services", "plan services"},
		{"changes", "compiler"},
	},
	"pkg/table/draws": {
		{"as a query draws", "draw joint doc"},
		{"made of pools", "render compile defaults split"},
	},
	"pkg/table/zones": {
		{"zones as read", "zone sets lookup"},
		{"signatures as read", "signer signed steered presigned"},
		{"zones as secondaries read them", "records"},
		{"zones as made", "build shorten additional special presign serial"},
		{"made from an old form", "remake*"},
	},
	"pkg/serve": { // handling, guards, datagrams, streams: see the packages in its folder
		{"names", "serve"},
		{"configuration", "config"},
		{"addresses", "binderror bind"},
		{"server", "metrics server"},
	},
	"pkg/serve/datagram": {
		{"sockets and threads", "socket mmsg thread rest"},
		{"slow work", "datagram slow shared"},
		{"batches", "batch bundle"},
		{"workers", "udp"},
		{"past the kernel", "xdp*"},
	},
	"pkg/serve/guard": {
		{"counts", "counts"},
		{"connections", "conns evict"},
		{"replies", "ratelimit"},
		{"panics", "quarantine panics"},
		{"what workers share", "shared"},
	},
	"pkg/serve/stream": {
		{"workers", "message shared worker"},
		{"connections", "tap handshake pipe"},
		{"TCP and TLS", "tcp"},
		{"QUIC", "quic doq"},
		{"HTTP", "web*"},
		{"endpoints", "endpoint"},
	},
}

// Of the pairs of files in which one uses the other, this share may run upward between parts: one in ten.
const mayRunUpward = 10

// roomSize is how many files a room may have, tests apart.
const roomSize = 16

// Rooms that still have more. The number only goes down: whoever takes files out of one corrects it, and takes the line out at roomSize.
var wide = map[string]int{
	"cmd/gtmctl":   32,
	"pkg/control":  28,
	"pkg/geo":      32,
	"pkg/spec":     40,
	"pkg/transfer": 18,
}

func TestRoomsAreSmall(t *testing.T) {
	files := map[string]int{}
	for _, s := range sources(t, "..") {
		if !s.test {
			files[s.dir]++
		}
	}
	for dir, most := range wide {
		switch n := files[dir]; {
		case n <= roomSize:
			t.Errorf("%s has %d files, as many as a room may have: take it out of the list of wide ones", dir, n)
		case n < most:
			t.Errorf("%s has %d files, fewer than the %d of the list of wide ones: correct the list, so that it stays so", dir, n, most)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		if most := max(roomSize, wide[dir]); files[dir] > most {
			t.Errorf("%s has %d files, and may have %d: find the parts of it, and give some a room of their own", dir, files[dir], most)
		}
	}
}

func TestPartsUseLowerOnes(t *testing.T) {
	dirs := slices.Sorted(maps.Keys(parts))
	packages, lookup := listed(t, dirs)
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", lookup)
	for _, dir := range dirs {
		t.Run(dir, func(t *testing.T) {
			p := packages[module+"/"+dir]
			if len(p.GoFiles) == 0 {
				t.Fatalf("there is no package in %s", dir)
			}
			var files []*ast.File
			for _, name := range p.GoFiles {
				files = append(files, parsed(t, fset, name, filepath.Join("..", dir, name), nil))
			}
			partOf, faults := sorted(parts[dir], slices.Concat(p.GoFiles, p.IgnoredGoFiles))
			for _, fault := range faults {
				t.Errorf("%s: %s", dir, fault)
			}
			pairs := usesOf(t, fset, from, p.ImportPath, files)
			upward := slices.DeleteFunc(slices.Clone(pairs), func(u uses) bool { return partOf[u.by] >= partOf[u.of] })
			t.Logf("of %d pairs of files, %d run upward", len(pairs), len(upward))
			for _, u := range upward {
				t.Logf("upward: %s", u)
			}
			if len(upward)*mayRunUpward > len(pairs) {
				t.Errorf("%s: of %d pairs of files in which one uses the other, %d run upward between parts (run with -v to see all). "+
					"The worst:",
					dir, len(pairs), len(upward))
				for _, u := range upward[:min(10, len(upward))] {
					t.Errorf("  %s", u)
				}
			}
		})
	}
}

// uses is what one file uses of another one of its package.
type uses struct {
	by, of string
	times  int
	first  string // name
	at     int    // its line of by
	pos    token.Pos
}

func (u uses) String() string {
	return fmt.Sprintf("%s uses %s %d times, as %s in line %d", u.by, u.of, u.times, u.first, u.at)
}

// usesOf gives all pairs of files in which one uses a name, method or field that is declared in the other; most uses first.
func usesOf(t *testing.T, fset *token.FileSet, from types.Importer, pkg string, files []*ast.File) []uses {
	t.Helper()
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := (&types.Config{Importer: from}).Check(pkg, fset, files, &info)
	if err != nil {
		t.Fatal(err)
	}
	found := map[[2]string]*uses{}
	for name, object := range info.Uses {
		here, there := fset.Position(name.Pos()), fset.Position(object.Pos())
		if object.Pkg() != checked || here.Filename == there.Filename {
			continue
		}
		pair := [2]string{here.Filename, there.Filename}
		u := found[pair]
		if u == nil {
			u = &uses{by: here.Filename, of: there.Filename, pos: name.Pos()}
			found[pair] = u
		}
		if u.times++; name.Pos() <= u.pos {
			u.pos, u.at, u.first = name.Pos(), here.Line, name.Name
		}
	}
	var all []uses
	for _, u := range found {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b uses) int {
		if a.times != b.times {
			return b.times - a.times
		}
		return strings.Compare(a.by+" "+a.of, b.by+" "+b.of)
	})
	return all
}

// sorted tells which part each file belongs to, and what is wrong with the list.
func sorted(parts []part, files []string) (partOf map[string]int, faults []string) {
	partOf = map[string]int{}
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fits := fitting(parts, func(pattern string) bool { return pattern+".go" == file })
		if len(fits) == 0 {
			fits = fitting(parts, func(pattern string) bool { ok, _ := path.Match(pattern+".go", file); return ok })
		}
		for pattern, i := range fits {
			partOf[file], used[pattern] = i, true
		}
		switch len(fits) {
		case 0:
			faults = append(faults, file+" belongs to no part")
		case 1:
		default:
			faults = append(faults, file+" is named more than once: "+strings.Join(slices.Sorted(maps.Keys(fits)), " "))
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(fitting(parts, func(string) bool { return true }))) {
		if !used[pattern] {
			faults = append(faults, "no file is "+pattern)
		}
	}
	return partOf, faults
}

// fitting gives the names and patterns that fit, each with its part's name behind it, and the number of that part.
func fitting(parts []part, fits func(pattern string) bool) map[string]int {
	found := map[string]int{}
	for i, p := range parts {
		for _, pattern := range strings.Fields(p.files) {
			if fits(pattern) {
				found[pattern+" of "+p.name] = i
			}
		}
	}
	return found
}

// A listedPackage is what go list tells of one.
type listedPackage struct {
	ImportPath, Export      string
	GoFiles, IgnoredGoFiles []string
}

// listed asks go list for packages and for what the compiler has kept of all that they import.
func listed(t *testing.T, dirs []string) (map[string]listedPackage, importer.Lookup) {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,GoFiles,IgnoredGoFiles"}
	for _, dir := range dirs {
		args = append(args, "./"+dir)
	}
	list := exec.Command("go", args...)
	list.Dir = ".."
	var complaints strings.Builder
	list.Stderr = &complaints
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	packages := map[string]listedPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
	return packages, func(pkg string) (io.ReadCloser, error) {
		p, ok := packages[pkg]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return os.Open(p.Export)
	}
}

// parsed parses a file under a short name.
func parsed(t *testing.T, fset *token.FileSet, name, file string, source any) *ast.File {
	t.Helper()
	if source == nil {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = text
	}
	f, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestUsesOf(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, f := range [][2]string{
		{"low.go", "package p\ntype low struct{ field int }\nfunc (l low) method() {}\n"},
		{"mid.go", "package p\ntype face interface{ method() }\nfunc helper(f face) { f.method() }\n"},
		{"high.go", "package p\nfunc high(l struct{ low }) int {\n\thelper(l)\n\treturn l.field\n}\n"},
		{"other.go", "package p\nfunc other() { var l low; l.method(); var high int; _ = high }\n"},
	} {
		files = append(files, parsed(t, fset, f[0], "", f[1]))
	}
	var got []string
	for _, u := range usesOf(t, fset, nil, "p", files) {
		got = append(got, u.String())
	}
	slices.Sort(got)
	want := []string{
		"high.go uses low.go 2 times, as low in line 2",
		"high.go uses mid.go 1 times, as helper in line 3",
		"other.go uses low.go 2 times, as low in line 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSorted(t *testing.T) {
	list := []part{{"low", "conns web2"}, {"high", "web* server"}}
	for _, c := range []struct{ files, fault string }{
		{"conns.go web2.go web.go web2_test.go server.go", ""},
		{"conns.go web2.go web.go server.go udp.go", "udp.go belongs to no part"},
		{"conns.go web2.go server.go", "no file is web* of high"},
	} {
		got, faults := sorted(list, strings.Fields(c.files))
		if fault := strings.Join(faults, "; "); fault != c.fault {
			t.Errorf("%s: %q, want %q", c.files, fault, c.fault)
		}
		if got["conns.go"] != 0 || got["web2.go"] != 0 || got["server.go"] != 1 {
			t.Errorf("%s: %v", c.files, got)
		}
	}
	if _, faults := sorted([]part{{"low", "web"}, {"high", "web"}}, []string{"web.go"}); len(faults) != 1 {
		t.Errorf("a file that fits twice: %q", faults)
	}
}
