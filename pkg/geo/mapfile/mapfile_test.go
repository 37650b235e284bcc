package mapfile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/gtmtest"
)

// write puts a file in place as one does: beside, and renamed.
func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// open reads texts, each as a file.
func open(t testing.TB, texts ...string) *Files {
	t.Helper()
	var contents []*content
	for i, text := range texts {
		c, err := read(fmt.Sprint("maps", i), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, c)
	}
	f, err := join(contents)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines writes down what files hold.
func (f *Files) lines() (out []string) {
	for _, v4 := range []bool{true, false} {
		for n := range f.of(v4).all() {
			out = append(out, n.prefix().String()+" "+f.names[n.name])
		}
	}
	return out
}

func TestLines(t *testing.T) {
	f := open(t, "# of all kinds\n\n  2001:db8::/32\tb # behind\r\n10.0.0.0/8 a\n10.1.0.0/16,b\n10.1.2.3 , c-1\n10.1.0.0/24 -\n::/0 0\n"+
		"0.0.0.0/0 a\n2001:db8::1 a\n10.1.0.0/16 b\n255.255.255.255 z")
	want := []string{"0.0.0.0/0 a", "10.0.0.0/8 a", "10.1.0.0/16 b", "10.1.0.0/24 -", "10.1.2.3/32 c-1", "255.255.255.255/32 z",
		"::/0 0", "2001:db8::/32 b", "2001:db8::1/128 a"}
	if diff := cmp.Diff(want, f.lines()); diff != "" {
		t.Error(diff)
	}
	info := f.Info()[0]
	if info.Lines != 12 || info.Networks != 9 || info.Repeated != 1 || info.Names != 5 || f.Len() != 9 || len(info.SHA256) != 64 {
		t.Errorf("%+v", info)
	}
	if f.Networks("a") != 3 || f.Networks("-") != 0 || f.Networks("none") != 0 ||
		!slices.Equal(f.Names(), []string{"b", "a", "c-1", "0", "z"}) {
		t.Errorf("names %v, a has %d networks, - %d", f.Names(), f.Networks("a"), f.Networks("-"))
	}
}

func TestFaultsAreToldByLine(t *testing.T) {
	const shape = "write a network and a name, as in: 192.0.2.0/24 offices"
	for text, want := range map[string]string{
		"10.0.0.0/8":         "line 1: " + shape,
		"10.0.0.0/8 a b":     "line 1: " + shape,
		"# c\n10.0.0.0/8,,a": `line 2: ",a" is no name: it is of a-z, 0-9 and -, at most 63 letters`,
		"10.0.0.0/8 Offices": `line 1: "Offices" is no name: it is of a-z, 0-9 and -, at most 63 letters`,
		"10.0.0.0/8 a-":      `line 1: "a-" is no name: it is of a-z, 0-9 and -, at most 63 letters`,
		"10.0.0.0/8 " + strings.Repeat("a", 64): `line 1: "` + strings.Repeat("a", 64) +
			`" is no name: it is of a-z, 0-9 and -, at most 63 letters`,
		"offices 10.0.0.0/8":           `line 1: "offices" is no network: write it as in 192.0.2.0/24`,
		"fe80::1%eth0 a":               `line 1: "fe80::1%eth0" is no network: write it as in 192.0.2.0/24`,
		"10.0.0.1/8 a":                 "line 1: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8",
		"::ffff:10.0.0.0/104 a":        "line 1: ::ffff:10.0.0.0/104 is an IPv4 network in IPv6 form: write it in IPv4 form",
		"10.0.0.0/8 a\n\n10.0.0.0/8 b": "line 3: 10.0.0.0/8 belongs to b, and to a by line 1: keep one of them",
		"x\ny\nz\n10.0.0.0/8 a\nu\nv": "line 1: " + shape + "; line 2: " + shape + "; line 3: " + shape +
			"; and 2 more",
		strings.Repeat(" ", 5000):                            "line 1: it is longer than 4096 bytes",
		"10.0.0.0/8 a\n" + strings.Repeat("#", 5000) + "\nx": "line 2: it is longer than 4096 bytes",
	} {
		file := write(t, filepath.Join(t.TempDir(), "maps"), text)
		f, err := Open(file)
		if err == nil {
			t.Errorf("%.80q is read as %v", text, f.lines())
			continue
		}
		if diff := cmp.Diff("map file "+file+": "+want, err.Error()); diff != "" {
			t.Errorf("%.80q: %s", text, diff)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "map file: open ") {
		t.Errorf("no file: %v", err)
	}
}

func TestThereAreBounds(t *testing.T) {
	var text strings.Builder
	for i := range MaxNames + 1 {
		fmt.Fprintf(&text, "10.%d.%d.0/24 n%d\n", i>>8, i&255, i)
	}
	file := write(t, filepath.Join(t.TempDir(), "maps"), text.String())
	if _, err := Open(file); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf(`line %d: "n%d" is one name too many`, MaxNames+1, MaxNames)) {
		t.Errorf("too many names: %v", err)
	}
	all := strings.SplitAfter(text.String(), "\n")
	first := write(t, filepath.Join(t.TempDir(), "first"), strings.Join(all[:MaxNames], ""))
	second := write(t, filepath.Join(t.TempDir(), "second"), all[MaxNames])
	if _, err := Open(first); err != nil {
		t.Errorf("as many names as there may be: %v", err)
	}
	if _, err := Open(first, second); err == nil || !strings.Contains(err.Error(), second) {
		t.Errorf("too many names in two files: %v", err)
	}
}

// TestTheFirstFileWins where two have the same network.
func TestTheFirstFileWins(t *testing.T) {
	f := open(t, "10.0.0.0/8 a\n10.1.0.0/16 b\n", "10.0.0.0/8 c\n10.2.0.0/16 b\n10.1.0.0/16 -\n2001:db8::/32 a\n")
	want := []string{"10.0.0.0/8 a", "10.1.0.0/16 b", "10.2.0.0/16 b", "2001:db8::/32 a"}
	if diff := cmp.Diff(want, f.lines()); diff != "" {
		t.Error(diff)
	}
	if f.Networks("c") != 0 || f.Networks("a") != 2 {
		t.Errorf("c has %d networks, a %d", f.Networks("c"), f.Networks("a"))
	}
}

// randomText draws lines that nest and touch.
func randomText(rnd *rand.Rand, count int) (text string, nets map[netip.Prefix]string) {
	nets = map[netip.Prefix]string{}
	var b strings.Builder
	for range count {
		a := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(2)), byte(rnd.IntN(4) * 64), byte(rnd.IntN(256))})
		if rnd.IntN(2) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rnd.IntN(3)), 14: byte(rnd.IntN(2)), 15: byte(rnd.IntN(256))})
		}
		p, err := a.Prefix(rnd.IntN(a.BitLen() + 1))
		if err != nil {
			panic(err)
		}
		if _, twice := nets[p]; !twice {
			nets[p] = []string{"-", "a", "b", "c"}[rnd.IntN(4)]
			fmt.Fprintf(&b, "%s %s\n", p, nets[p])
		}
	}
	return b.String(), nets
}

// TestRunsAreThePlainReading: a run begins where the longest network changes, and nowhere is another map than the lines say.
func TestRunsAreThePlainReading(t *testing.T) {
	rnd := gtmtest.Random(t)
	for range 300 {
		text, nets := randomText(rnd, rnd.IntN(40))
		f := open(t, text)
		if f.Len() != len(nets) {
			t.Fatalf("%d networks of %d", f.Len(), len(nets))
		}
		plain := func(a netip.Addr) string {
			name, bits := "-", -1
			for p, n := range nets {
				if p.Contains(a) && p.Bits() > bits {
					name, bits = n, p.Bits()
				}
			}
			return name
		}
		for _, v4 := range []bool{true, false} {
			last := netip.Addr{}
			for start, i := range f.Runs(v4) {
				if !last.IsValid() != start.IsUnspecified() || last.IsValid() && start.Compare(last) <= 0 {
					t.Fatalf("a run at %s behind one at %s", start, last)
				}
				last = start
				if name := f.names[i+1]; plain(start) != name {
					t.Fatalf("%s is in %s, want %s\n%s", start, name, plain(start), text)
				}
			}
			compareRuns(t, f, v4, nets, plain)
		}
	}
}

// compareRuns looks at the first address of each network, and the one behind it.
func compareRuns(t *testing.T, f *Files, v4 bool, nets map[netip.Prefix]string, plain func(netip.Addr) string) {
	t.Helper()
	at := func(a netip.Addr) (name string) {
		for start, i := range f.Runs(v4) {
			if start.Compare(a) > 0 {
				break
			}
			name = f.names[i+1]
		}
		return name
	}
	for p := range nets {
		n := network{address: addressOf(p.Addr()), bits: uint8(p.Bits()), v4: v4}
		end, over := n.behind()
		if p.Addr().Is4() != v4 {
			continue
		}
		for _, a := range []netip.Addr{p.Addr(), end.netip(v4)} {
			if got := at(a); !over && got != plain(a) {
				t.Fatalf("%s is in %s, want %s", a, got, plain(a))
			}
		}
	}
}

// TestChangesAreCounted as a person would, of random files.
func TestChangesAreCounted(t *testing.T) {
	rnd := gtmtest.Random(t)
	for range 200 {
		textA, a := randomText(rnd, rnd.IntN(60))
		textB, b := randomText(rnd, rnd.IntN(60))
		if rnd.IntN(2) == 0 { // mostly the same
			textB, b = textA, a
		}
		want := Change{}
		for p, name := range a {
			switch other, there := b[p]; {
			case !there:
				want.Removed++
			case other != name:
				want.Renamed++
			}
		}
		for p := range b {
			if _, there := a[p]; !there {
				want.Added++
			}
		}
		got := open(t, textB).Since(open(t, textA))
		if got.String() != want.String() {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// many gives n networks of a map, and as many of another.
func many(n int, names ...string) string {
	var b strings.Builder
	for i := range n {
		for k, name := range names {
			fmt.Fprintf(&b, "10.%d.%d.%d/32 %s\n", k, i>>8, i&255, name)
		}
	}
	return b.String()
}

func TestFilesThatShrinkAreRefused(t *testing.T) {
	for _, c := range []struct{ name, old, fresh, want string }{
		{"more than half is gone", many(2000, "a"), many(999, "a"), "1001 of 2000 networks are missing"},
		{"half is gone", many(2000, "a"), many(1000, "a"), ""},
		{"few are gone of few", many(999, "a"), "", ""},
		{"all are others", many(1000, "a"), strings.ReplaceAll(many(1000, "a"), "10.", "11."), "1000 of 1000 networks are missing"},
		{"all have another name", many(2000, "a"), many(2000, "b"), ""},
		{"one map of two is gone", many(1000, "a", "b") + strings.ReplaceAll(many(1000, "a"), "10.", "11."), many(1000, "c", "d"), ""},
		{"a map's are gone", many(1000, "a", "b") + strings.ReplaceAll(many(1000, "a"), "10.", "11."),
			many(1000, "a") + strings.ReplaceAll(many(1000, "a"), "10.", "11."), "1000 of the 1000 networks of b are missing"},
		{"a small map's are gone", many(999, "a", "b") + strings.ReplaceAll(many(999, "a"), "10.", "11."),
			many(999, "a") + strings.ReplaceAll(many(999, "a"), "10.", "11."), ""},
	} {
		change := open(t, c.fresh).Since(open(t, c.old))
		got := ""
		if err := change.Shrinks(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFilesThatGrowOutOfHand: a file of a generator that writes without end was taken.
func TestFilesThatGrowOutOfHand(t *testing.T) {
	for _, c := range []struct {
		added, removed int
		refused        bool
	}{{30_000, 0, false}, {42_000, 0, true}, {42_000, 3000, false}} {
		change := Change{old: open(t, many(1000, "a")), Added: c.added, Removed: c.removed}
		if err := change.Grows(); (err != nil) != c.refused {
			t.Errorf("%d added, %d removed: %v", c.added, c.removed, err)
		}
	}
	first := Change{old: open(t, ""), Added: 1_000_000}
	if err := first.Grows(); err != nil {
		t.Errorf("the first file: %v", err)
	}
}

// TestWatch: a new file is taken when it has stayed for one look, one that is broken or has shrunk is refused, and what was before
// stays in use.
func TestWatch(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "maps"), many(1500, "a"))
	f, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	w := newWatcher(f, func(f *Files, c Change) { told = append(told, fmt.Sprint(f.Len(), " ", c)) }, func(err error) {
		told = append(told, strings.ReplaceAll(fmt.Sprint(err), file, "FILE"))
	})
	expect := func(what string, want ...string) {
		t.Helper()
		for range 3 {
			w.poll()
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		told = nil
	}
	expect("nothing")
	write(t, file, many(1500, "a"))
	expect("the same written again")
	write(t, file, many(1500, "a")+"192.0.2.0/24 b\n10.0.0.0/8 -\n")
	if w.poll(); told != nil {
		t.Errorf("taken at the first look: %v", told)
	}
	expect("more", "1502 2 networks added, 0 removed, 0 renamed")
	write(t, file, "nonsense\n")
	expect("a broken one", "map file FILE: line 1: write a network and a name, as in: 192.0.2.0/24 offices")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("none", "map file: open FILE: no such file or directory")
	write(t, file, many(700, "a"))
	expect("a short one", "map file FILE: 802 of 1502 networks are missing: if that is meant, restart gtmd")
	write(t, file, many(1500, "a")+"192.0.2.0/24 b\n10.0.0.0/8 -\n")
	expect("the one in use", "<nil>")
	write(t, file, many(1500, "a")+"192.0.2.0/24 c\n")
	expect("another", "1501 0 networks added, 1 removed, 1 renamed")
}

func TestKeptFiles(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "kept")
	one := write(t, filepath.Join(dir, "one"), "10.0.0.0/8 a\n")
	two := write(t, filepath.Join(dir, "two"), "11.0.0.0/8 b\n")
	start := func(want []string, faults ...string) *Files {
		t.Helper()
		f, errs := OpenKept(kept, one, two)
		var got []string
		for _, err := range errs {
			got = append(got, err.Error())
		}
		if diff := cmp.Diff(want, f.lines()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(faults, got); diff != "" {
			t.Error(diff)
		}
		return f
	}
	both := []string{"10.0.0.0/8 a", "11.0.0.0/8 b"}
	f := start(both)
	if err := f.Keep(kept); err != nil {
		t.Fatal(err)
	}
	write(t, one, "nonsense\n")
	const fault = ": line 1: write a network and a name, as in: 192.0.2.0/24 offices; "
	f = start(both, "map file "+one+fault+"its last good copy is used")
	if err := f.Keep(kept); err != nil {
		t.Fatal(err)
	}
	f = start(both, "map file "+one+fault+"its last good copy is used")
	var told []string
	w := newWatcher(f, func(_ *Files, c Change) { told = append(told, c.String()) },
		func(err error) { told = append(told, fmt.Sprint(err)) })
	write(t, one, "10.0.0.0/8 a\n")
	w.poll()
	w.poll()
	if diff := cmp.Diff([]string{"<nil>"}, told); diff != "" {
		t.Error(diff)
	}
	write(t, two, "nonsense\n")
	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	f = start(both[:1], "map file "+two+fault+"there is no good copy of it either, and it counts as empty")
	if err := f.Keep(kept); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(kept); err != nil || len(entries) != 1 {
		t.Errorf("kept %v, %v", entries, err)
	}
	write(t, one, "12.0.0.0/8 c\n") // since it was read
	if err := f.Keep(kept); err != nil {
		t.Fatal(err)
	}
	write(t, one, "nonsense\n")
	start(both[:1], "map file "+one+fault+"its last good copy is used",
		"map file "+two+fault+"there is no good copy of it either, and it counts as empty")
}

// FuzzRead: what is read is what a plain reading finds, and written down again it is read alike.
func FuzzRead(f *testing.F) {
	f.Add("10.0.0.0/8 a\n10.1.0.0/16,b # x\n\n2001:db8::/32\t-\n")
	f.Add("10.0.0.1 a\n10.0.0.1/32 a\r\n::/0 b")
	f.Add("x\n10.0.0.0/8 a b\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := read("f", strings.NewReader(text))
		if err != nil {
			if _, ok := err.(*Faults); !ok {
				t.Fatal(err)
			}
			return
		}
		files, err := join([]*content{c})
		if err != nil {
			t.Fatal(err)
		}
		plain := map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			line, _, _ = strings.Cut(line, "#")
			words := strings.FieldsFunc(strings.Replace(line, ",", " ", 1), func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' })
			if len(words) == 0 {
				continue
			}
			p, err := netip.ParsePrefix(words[0])
			if err != nil {
				a := netip.MustParseAddr(words[0])
				p = netip.PrefixFrom(a, a.BitLen())
			}
			plain[p.String()+" "+words[1]] = true
		}
		lines := files.lines()
		if len(lines) != len(plain) {
			t.Fatalf("%d lines, want %d: %q", len(lines), len(plain), lines)
		}
		for _, l := range lines {
			if !plain[l] {
				t.Fatalf("%q stands nowhere", l)
			}
		}
		again, err := read("f", strings.NewReader(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		if next, _ := join([]*content{again}); !slices.Equal(next.lines(), lines) {
			t.Fatalf("%q becomes %q", lines, next.lines())
		}
	})
}
