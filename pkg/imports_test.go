// Package pkg_test holds the rules of the house: which package may import which, and what stands where.
// The reasons are in docs/architecture.md.
package pkg_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gti/gtm"

const (
	dnsLibrary = "github.com/miekg/dns"
	prometheus = "github.com/prometheus/client_golang/prometheus"
	etcd       = "go.etcd.io/etcd"
	unix       = "golang.org/x/sys/unix"
	errgroup   = "golang.org/x/sync/errgroup"
	cobra      = "github.com/spf13/cobra"
	pflag      = "github.com/spf13/pflag"
	age        = "filippo.io/age"
)

// A room is one package's place in the house.
type room struct {
	floor   int
	outside []string // what it may import from other modules, by prefix
	pure    bool     // no sockets, files, processes, environment or logs: see worldly
	tests   bool     // imported by tests alone, by those of its own floor, too
}

// The house, by folder; a package inside of another's folder belongs to that room. A package imports only
// from rooms on lower floors. Rooms that are not built yet are there to keep their place.
var house = map[string]room{
	"geo":          {floor: -1}, // the built-in database alone
	"docs":         {floor: -1}, // the page of resources alone
	"pkg/gtmtest":  {floor: -1, tests: true},
	"pkg/private":  {floor: -1},
	"pkg/prefetch": {floor: -1}, // pure but for unsafe, which its assembly takes

	"pkg/dnswire":  {floor: 0, pure: true},
	"pkg/jsonscan": {floor: 0, pure: true},
	"pkg/resolve":  {floor: 0, outside: []string{dnsLibrary}},
	"pkg/geo": {floor: 0, outside: []string{"github.com/oschwald/maxminddb-golang/v2", "github.com/maxmind/mmdbwriter",
		"github.com/fsnotify/fsnotify"}},
	"pkg/serve": {floor: 0, outside: []string{unix, prometheus, "github.com/quic-go/quic-go", "github.com/cilium/ebpf",
		"golang.org/x/net/http", "golang.org/x/net/http2"}},
	"pkg/anycast": {floor: 0, outside: []string{prometheus, "github.com/osrg/gobgp"}},

	// What tests set up out of gtm's own packages.
	"pkg/gtmtest/declared": {floor: 2, tests: true},
	"pkg/gtmtest/etcds":    {floor: 4, tests: true, outside: []string{etcd, "go.uber.org/zap"}},
	"pkg/store/storetest":  {floor: 3, tests: true},
	"pkg/gtmtest/views":    {floor: 5, tests: true},

	"pkg/spec": {floor: 1, pure: true, outside: []string{"gopkg.in/yaml.v3", "github.com/robfig/cron/v3"}},
	"pkg/zone": {floor: 1, pure: true, outside: []string{dnsLibrary, age}},

	"pkg/health": {floor: 2, pure: true},

	"pkg/policy": {floor: 2, pure: true},
	"pkg/access": {floor: 2, pure: true},
	"pkg/demand": {floor: 2, pure: true},
	"pkg/steer":  {floor: 3, pure: true},
	"pkg/store":  {floor: 3, outside: []string{etcd, "google.golang.org/grpc", "go.uber.org/zap", unix, errgroup, prometheus}},
	"pkg/probe": {floor: 3, outside: []string{prometheus, unix, dnsLibrary, "github.com/prometheus-community/pro-bing",
		"cel.dev/cel-go", "github.com/coder/websocket", "github.com/quic-go/quic-go", "google.golang.org/grpc"}},

	"pkg/table": {floor: 4, pure: true},

	"pkg/change": {floor: 5, outside: []string{prometheus}},

	"pkg/answer":   {floor: 5, pure: true},
	"pkg/alias":    {floor: 5, outside: []string{dnsLibrary, prometheus}},
	"pkg/transfer": {floor: 6, outside: []string{dnsLibrary, prometheus}},
	"pkg/control": {floor: 6, outside: []string{"github.com/danielgtaylor/huma/v2", "github.com/coreos/go-oidc", prometheus,
		"gopkg.in/yaml.v3", "filippo.io/age"}},

	"pkg/client":  {floor: 7},
	"pkg/console": {floor: 7},
	"pkg/edge":    {floor: 7, outside: []string{prometheus, errgroup, "filippo.io/age"}},
	"pkg/prober":  {floor: 7, outside: []string{prometheus, errgroup}},

	"cmd/gtmd/interop/process": {floor: -1, outside: []string{unix}},                                          // for tests and bench
	"cmd/gtmd/interop/rig":     {floor: 7, tests: true, outside: []string{etcd, "go.uber.org/zap", errgroup}}, // processes and namespaces

	"zones/examples": {floor: 7, tests: true}, // nothing but its test

	"cmd/gtmd": {floor: 8, outside: []string{cobra, pflag, prometheus, errgroup, unix, age}},
	"cmd/gtmctl": {floor: 8, outside: []string{cobra, pflag, "github.com/schollz/progressbar/v3",
		"github.com/jedib0t/go-pretty/v6", "github.com/theory/jsonpath", "golang.org/x/term", "gopkg.in/yaml.v3",
		"github.com/coreos/go-oidc", "golang.org/x/oauth2"}},

	"bench": {floor: 9, outside: []string{dnsLibrary, "gonum.org/v1/plot", unix, "github.com/quic-go/quic-go",
		"github.com/maxmind/mmdbwriter", "github.com/cilium/ebpf", "golang.org/x/net/http2", errgroup}},
}

// What a test may import besides: oracles, comparers, script runners, and what stands in for the outside.
var testOutside = []string{dnsLibrary, "github.com/quic-go/quic-go", prometheus, etcd, errgroup, unix, "github.com/google/go-cmp/cmp",
	"github.com/rogpeppe/go-internal", "github.com/oschwald/maxminddb-golang/v2", "github.com/maxmind/mmdbwriter",
	"gopkg.in/yaml.v3", "go.uber.org/zap", "google.golang.org/grpc", "github.com/anishathalye/porcupine",
	"github.com/zitadel/oidc/v3"}

// What a pure package has no use for.
var worldly = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "log", "log/slog", "io/ioutil", "unsafe"}

// What may stand at the top, besides what .gitignore names.
var top = []string{".ci", ".git", ".gitignore", "LICENSE", "Makefile", "README.md", "bench", "cmd", "deploy", "docs",
	"geo", "go.mod", "go.sum", "pkg", "zones"}

// A source is one Go file of this module.
type source struct {
	dir, name string // dir relative to the module's root, with slashes
	test      bool
	file      *ast.File
}

// sources parses every Go file below the root, up to and including imports.
func sources(t *testing.T, root string) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(relative), entry.Name(), strings.HasSuffix(file, "_test.go"), parsed})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files below %s: is that the module's root?", len(all), root)
	}
	return all
}

// roomOf gives the room that a folder belongs to: its own, or the nearest one above it.
func roomOf(dir string) (string, bool) {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := house[dir]; ok {
			return dir, true
		}
	}
	return "", false
}

// within reports whether an import path is one of the prefixes or stands below one.
func within(imported string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return imported == prefix || strings.HasPrefix(imported, prefix+"/")
	})
}

func TestEveryPackageHasARoom(t *testing.T) {
	for _, s := range sources(t, "..") {
		if _, ok := roomOf(s.dir); !ok && s.dir != "pkg" {
			t.Errorf("%s/%s: its package is not in the table of pkg/imports_test.go; every package has a place in the house",
				s.dir, s.name)
		}
	}
}

func TestImportsGoDownward(t *testing.T) {
	for _, s := range sources(t, "..") {
		own, ok := roomOf(s.dir)
		if !ok {
			continue
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if fault := judge(own, imported, s.test); fault != "" {
				t.Errorf("%s/%s imports %s: %s", s.dir, s.name, imported, fault)
			}
		}
	}
}

// judge says what is wrong with an import, or nothing.
func judge(own, imported string, test bool) string {
	here := house[own]
	if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
		other, known := roomOf(inside)
		switch {
		case !known:
			return "that package is not in the table"
		case house[other].tests && !test && !here.tests:
			return "that package is for tests"
		case house[other].tests && house[other].floor == here.floor, here.tests && strings.HasPrefix(own, other+"/"):
			return ""
		case other != own && house[other].floor >= here.floor:
			return "it stands on floor " + strconv.Itoa(house[other].floor) + ", which is not below floor " + strconv.Itoa(here.floor)
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		if here.pure && !test && slices.Contains(worldly, imported) {
			return own + " is pure; let the caller do that, higher up"
		}
		return ""
	}
	if within(imported, here.outside) || test && within(imported, testOutside) {
		return ""
	}
	return "the table does not allow " + own + " that import from outside"
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, own, imported string
		test, wrong         bool
	}{
		{"down", "pkg/answer", module + "/pkg/dnswire", false, false},
		{"within the room", "pkg/answer", module + "/pkg/answer/internal/x", false, false},
		{"for tests, of the room in whose folder it is", "pkg/store/storetest", module + "/pkg/store/state", false, false},
		{"for tests, of another room of its floor", "pkg/store/storetest", module + "/pkg/probe", false, true},
		{"up", "pkg/dnswire", module + "/pkg/answer", false, true},
		{"up, in a test", "pkg/dnswire", module + "/pkg/answer", true, true},
		{"beside", "pkg/geo", module + "/pkg/dnswire", false, true},
		{"for tests", "pkg/answer", module + "/pkg/gtmtest", false, true},
		{"for tests of its floor", "pkg/answer", module + "/pkg/gtmtest/views", true, false},
		{"for tests of higher floors", "pkg/zone", module + "/pkg/gtmtest/views", true, true},
		{"unknown", "pkg/edge", module + "/pkg/util", false, true},
		{"oracle in code", "pkg/dnswire", dnsLibrary, false, true},
		{"oracle in a test", "pkg/dnswire", dnsLibrary, true, false},
		{"etcd in the store", "pkg/store", etcd + "/client/v3", false, false},
		{"etcd elsewhere", "pkg/edge", etcd + "/client/v3", false, true},
		{"a prefix that is no path", "pkg/zone", dnsLibrary + "utils", false, true},
		{"socket in a pure package", "pkg/answer", "net", false, true},
		{"address in a pure package", "pkg/answer", "net/netip", false, false},
		{"file in a pure package's test", "pkg/answer", "os", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if fault := judge(c.own, c.imported, c.test); (fault != "") != c.wrong {
				t.Errorf("judge(%q, %q, test %v) = %q", c.own, c.imported, c.test, fault)
			}
		})
	}
}

func TestOneDocCommentPerPackage(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t, "..") {
		if s.test {
			continue
		}
		found := docs[s.dir]
		if s.file.Doc != nil {
			found = append(found, s.name)
		}
		docs[s.dir] = found // also where it is empty: the package is to be known
		if s.file.Doc != nil && s.file.Name.Name != "main" && !strings.HasPrefix(s.file.Doc.Text(), "Package "+s.file.Name.Name+" ") {
			t.Errorf("%s/%s: the doc comment does not begin with \"Package %s \"", s.dir, s.name, s.file.Name.Name)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		if len(docs[dir]) != 1 {
			t.Errorf("%s has %d doc comments (%s); one, that says its one duty", dir, len(docs[dir]), strings.Join(docs[dir], ", "))
		}
	}
}

func TestTopLevel(t *testing.T) {
	allowed := slices.Clone(top)
	ignored, err := os.ReadFile("../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(ignored)) {
		allowed = append(allowed, strings.Trim(line, "/\n"))
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(allowed, entry.Name()) {
			t.Errorf("%s stands at the top of the repository; the design knows only %s", entry.Name(), strings.Join(top, " "))
		}
	}
}
