package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"gopkg.in/yaml.v3"
)

// emit prints v for programs, or calls people to print it for people.
func (a *app) emit(v any, people func()) error {
	switch a.output {
	case "json":
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(v); err != nil {
			return err
		}
		_, err := io.WriteString(a.out, escapedJSON(b.String()))
		return err
	case "yaml":
		node, err := yamlOf(v)
		if err != nil {
			return err
		}
		return writeYAML(a.out, node)
	}
	people()
	return nil
}

// yamlOf gives v as YAML with the fields, and their order, of its JSON.
func yamlOf(v any) (*yaml.Node, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(escaped(string(encoded))), node); err != nil { // JSON is YAML, but for some raw characters
		return nil, err
	}
	plain(node)
	return node, nil
}

// plain takes JSON's braces and quotes away; the encoder quotes again what needs it.
func plain(node *yaml.Node) {
	node.Style = 0
	if strings.ContainsFunc(node.Value, unsafe) {
		node.Style = yaml.DoubleQuotedStyle // in which escapes mean what they stand for
	}
	for _, child := range node.Content {
		plain(child)
	}
}

func writeYAML(w io.Writer, node *yaml.Node) error {
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	return encoder.Close()
}

// printf prints; each text among args stays on its line.
func (a *app) printf(format string, args ...any) {
	for i := range args {
		if text, ok := args[i].(string); ok {
			args[i] = line(text)
		}
	}
	fmt.Fprintf(a.out, format, args...)
}

// Colours of states. They are used on a terminal only, and not where NO_COLOR is set.
var (
	good = text.Colors{text.FgGreen}
	bad  = text.Colors{text.FgRed}
	odd  = text.Colors{text.FgYellow}
)

func (a *app) paint(colors text.Colors, s string) string {
	if s == "" || a.getenv("NO_COLOR") != "" || !isTerminal(a.out) {
		return s
	}
	return colour + strings.TrimPrefix(colors.EscapeSeq(), "\x1b[") + s + colour + "0m"
}

// state paints a state by what it means.
func (a *app) state(s string) string {
	switch s {
	case "up", "current", "alive":
		return a.paint(good, s)
	case "down", "refused", "unreachable", "absent":
		return a.paint(bad, s)
	}
	return a.paint(odd, s)
}

// age tells how long ago t was, in at most two units; "" for no time.
func (a *app) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(a.now().Sub(t))
}

// span writes a duration as people say it: 12s, 3m5s, 2h10m, 4d.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Hour:
		d = d.Truncate(time.Second)
	case d < 48*time.Hour:
		d = d.Truncate(time.Minute)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if cut, ok := strings.CutSuffix(s, zero); ok {
			s = cut + zero[:1]
		}
	}
	return s
}

// number writes a weight or a score without useless digits.
func number(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}

// percent writes a share from 0 to 1.
func percent(f float64) string { return number(f*100) + "%" }

// orDash keeps an empty cell visible.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
