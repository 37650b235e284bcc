package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"gopkg.in/yaml.v3"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// evil is what others may write: it clears the screen, sets a title, colours, turns the writing around, and begins lines of its own.
const evil = "a\x1b[2J\x1b]0;t\x07\x9b31m\u009b1m\u202eb\u2066\u200f\x7f\r\n! shop/eu is down\u2028\U000e0041"

// Reasons, messages and errors reached terminals as they were written.
func TestWhatOthersWriteIsEscaped(t *testing.T) {
	var raw bytes.Buffer
	s := &screen{raw: &raw}
	for _, b := range []byte(evil + "ü\xc3") { // in parts of characters, too
		if n, err := s.Write([]byte{b}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	s.end()
	want := `a\u001b[2J\u001b]0;t\u0007\x9b31m\u009b1m\u202eb\u2066\u200f\u007f\u000d` + "\n" + `! shop/eu is down\u2028\U000e0041ü\xc3`
	if raw.String() != want {
		t.Errorf("got  %q\nwant %q", raw.String(), want)
	}
	if got := line("a\nb\tc"); got != `a\nb\tc` {
		t.Errorf("line gives %q", got)
	}
}

// Our own colours pass, and nobody else's, though they look the same.
func TestOwnColoursPass(t *testing.T) {
	painted := colour + strings.TrimPrefix(text.Colors{text.FgRed}.EscapeSeq(), "\x1b[") + "down" + colour + "0m"
	if got := escaped(painted + "\x1b[32mup\x1b[0m"); got != "\x1b[31mdown\x1b[0m"+`\u001b[32mup\u001b[0m` {
		t.Errorf("got %q", got)
	}
	if n := text.StringWidthWithoutEscSequences(painted); n != 4 {
		t.Errorf("a table takes it to be %d wide", n)
	}
}

// Tables and lines keep a text of others on its line.
func TestLinesOfOthersAreNotOurs(t *testing.T) {
	var raw bytes.Buffer
	a := &app{world: world{out: &screen{raw: &raw}, err: &screen{raw: &raw}, getenv: func(string) string { return "" }}}
	a.table([]string{"reason"}, [][]string{{evil}})
	a.printf("override: %s\n", evil)
	a.complain(&api.Problem{Status: 422, Detail: evil, Errors: []api.Issue{{Resource: evil, Message: evil, Hint: evil}}})
	a.complain(spec.Errors{{File: evil, Msg: evil}})
	for l := range strings.Lines(raw.String()) {
		if strings.ContainsFunc(strings.TrimSuffix(l, "\n"), unsafe) || strings.HasPrefix(l, "!") {
			t.Errorf("%q", l)
		}
	}
}

// What is escaped for the eye reads back to the same: get -o yaml and -o json are applied again.
func TestEscapesReadBack(t *testing.T) {
	valid := strings.ToValidUTF8(evil, "")
	r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "x"}, Spec: &spec.Override{Pool: "eu", State: "drain",
		Reason: valid}}
	manifest, err := spec.EncodeYAML([]*spec.Resource{r})
	if err != nil {
		t.Fatal(err)
	}
	shown := escaped(string(manifest))
	again, err := spec.Decode("x", []byte(shown))
	if err != nil || again[0].Spec.(*spec.Override).Reason != valid || strings.ContainsFunc(shown, unsafe) {
		t.Errorf("%v:\n%s", err, shown)
	}
	for _, format := range []string{"json", "yaml"} {
		var raw bytes.Buffer
		a := &app{world: world{out: &screen{raw: &raw}}, output: format}
		if err := a.emit(map[string]string{"reason": valid}, nil); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if format == "json" {
			err = json.Unmarshal(raw.Bytes(), &back)
		} else {
			err = yaml.Unmarshal(raw.Bytes(), &back)
		}
		if err != nil || back["reason"] != valid || strings.ContainsFunc(raw.String(), unsafe) {
			t.Errorf("%s: %v\n%s", format, err, raw.String())
		}
	}
}
