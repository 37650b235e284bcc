package start

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/control/files"
)

var zones = map[string]map[string][]string{"gtm.example.": {"shop": {"shop.gtm.example."}, "cafe": {"cafe.gtm.example."}}}

// answered gives what comes of a conversation, and what was asked.
func answered(t *testing.T, said Said, lines string) (*Answers, string, error) {
	t.Helper()
	var asked strings.Builder
	a, err := said.Answers(NewPerson(strings.NewReader(lines), &asked), zones)
	return a, asked.String(), err
}

// TestWhatIsAnsweredIsDeclared: the file that comes of each conversation passes the check of all there is.
func TestWhatIsAnsweredIsDeclared(t *testing.T) {
	whole := Said{Zone: "Example.ORG", Tenant: "me", Host: "www.example.org", Check: "https:8443/healthz", Edge: "2001:db8::53",
		Pools: []string{"eu=192.0.2.1,2001:db8::1", "us=198.51.100.1"}}
	for name, c := range map[string]struct {
		said  Said
		lines string
		want  []string
	}{
		"all said": {whole, "", []string{"ns1 AAAA 2001:db8::53", "grants: {me: [example.org.]}", "port: 8443", `path: "/healthz"`}},
		"all asked": {Said{}, "example.org\nme\n\neu=192.0.2.1\nus=192.0.2.2 192.0.2.3\nnone\n\n",
			[]string{"name: www\n", "ns1 A 127.0.0.1", "pools: [eu, us]"}},
		"mended": {Said{}, "ex ample\nexample.org\nME\nme\nwww.other.org\nwww.example.org\neu\neu=1\neu=192.0.2.1\neu=192.0.2.9\n" +
			"us=192.0.2.2\ntcp\ntcp:5222\nx\n::1\n", []string{"type: tcp", "port: 5222", "ns1 AAAA ::1"}},
		"no name": {Said{Host: "_sip.example.org", Zone: "example.org", Tenant: "me", Check: "none", Edge: "::1", Pools: whole.Pools}, "",
			[]string{"name: first\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, asked, err := answered(t, c.said, c.lines)
			if err != nil {
				t.Fatalf("%v after %s", err, asked)
			}
			text := a.YAML()
			resources, err := files.Load([]string{"-"}, strings.NewReader(text))
			if err == nil {
				_, err = lawful.Declared(resources)
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
		})
	}
}

// TestAZoneThatIsThereIsNotDeclared, and what it grants is what is proposed.
func TestAZoneThatIsThereIsNotDeclared(t *testing.T) {
	a, asked, err := answered(t, Said{}, "\nshop\n\neu=192.0.2.1\nus=192.0.2.2\n\n")
	if err != nil || a.NewZone || a.Zone != "gtm.example." || a.Host != "www.shop.gtm.example." || strings.Contains(a.YAML(), "Zone") {
		t.Errorf("%+v, %v after %s", a, err, asked)
	}
	if !strings.Contains(asked, "[gtm.example]") || !strings.Contains(asked, "[cafe]") || strings.Contains(asked, "edge") {
		t.Errorf("asked was %s", asked)
	}
	if _, _, err := answered(t, Said{Zone: "gtm.example", Tenant: "other"}, ""); err == nil ||
		!strings.Contains(err.Error(), "grants other no name") {
		t.Errorf("got %v", err)
	}
	if _, _, err := answered(t, Said{Zone: "gtm.example", Tenant: "shop", Host: "www.cafe.gtm.example"}, ""); err == nil ||
		!strings.Contains(err.Error(), "does not stand below shop.gtm.example.") {
		t.Errorf("got %v", err)
	}
}

// TestNobodyAnswers: the input is over, or nothing but wrong comes.
func TestNobodyAnswers(t *testing.T) {
	if _, _, err := answered(t, Said{}, "example.org\n"); !errors.Is(err, ErrSilent) {
		t.Errorf("got %v", err)
	}
	if _, asked, err := answered(t, Said{}, strings.Repeat("a b\n", 100)); err == nil ||
		strings.Count(asked, "Zone, in which") != mostTries {
		t.Errorf("got %v after %s", err, asked)
	}
	if _, _, err := answered(t, Said{}, strings.Repeat("x", mostBytes+1)); err == nil ||
		!strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("got %v", err)
	}
	if NewPerson(strings.NewReader("ja\n"), io.Discard).Sure("?") || NewPerson(strings.NewReader(""), io.Discard).Sure("?") ||
		!NewPerson(strings.NewReader("yes\n"), io.Discard).Sure("?") {
		t.Error("only yes is yes")
	}
}

// FuzzParse: what is taken for pools and a check can be declared.
func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{{"eu=192.0.2.1", "https:8443/healthz"}, {"a=::1,::2", "tcp:5222"}, {"=,", "none"},
		{"eu=fe80::1%lo", "http/\"\\\n"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pool, check string) {
		p, err := ParsePool(pool)
		c, odd := ParseCheck(check)
		if err != nil || odd != nil {
			return
		}
		a := &Answers{Zone: "example.org.", Tenant: "me", Host: "www.example.org.", Pools: []Pool{p}, Check: c}
		resources, err := files.Load([]string{"-"}, strings.NewReader(a.YAML()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, a.YAML())
		}
		if got := len(resources); got != 2 && c.Type == "" || got != 3 && c.Type != "" {
			t.Errorf("%d resources in\n%s", got, a.YAML())
		}
	})
}
