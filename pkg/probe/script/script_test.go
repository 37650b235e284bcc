package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var good = Answer{Status: 200, Headers: map[string]string{"x-version": "1.2"}, Time: 30 * time.Millisecond,
	Body: `{"ready": true, "lag": 3, "ratio": 0.5, "checks": [{"name": "db", "ok": true}, {"name": "mq", "ok": false}]}`}

func TestEval(t *testing.T) {
	for text, want := range map[string]string{
		`status == 200`: "true",
		`status >= 200 && time < duration("20ms")`:        "false",
		`time < duration("1s")`:                           "true",
		`headers["x-version"].startsWith("1.")`:           "true",
		`"x-none" in headers`:                             "false",
		`headers["x-none"] == "1"`:                        errMissing.Error(),
		`body.matches("\"lag\": \\d+,")`:                  "true",
		`json.ready && json.lag < 5 && json.ratio <= 0.5`: "true",
		`json.checks.all(c, c.ok)`:                        "false",
		`json.checks.filter(c, !c.ok).size() <= 1`:        "true",
		`json.none == 1`:                                  errMissing.Error(),
		`has(json.none) || status == 200`:                 "true",
		`json.ready > 1`:                                  errWrong.Error(),
		`json.ready`:                                      "true", `json.lag`: errWrong.Error(),
		`json[json.checks[0].name] == 1`: errMissing.Error(), // and does not say which
	} {
		p, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := p.Eval(context.Background(), good)
		if is := fmt.Sprint(got); err != nil && err.Error() != want || err == nil && is != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	p, err := Compile(`json.ready`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(context.Background(), Answer{Body: "<html>"}); err != ErrNotJSON {
		t.Errorf("not JSON: %v", err)
	}
	if p, _ = Compile(`status == 200`); p.readJSON {
		t.Error("a body is read that is not spoken of")
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`state == 200`:          `line 1, column 1: undeclared reference to 'state'`,
		"status ==\n 2 0":       `line 2, column 4: Syntax error: extraneous input '0' expecting <EOF>`,
		`status == "200"`:       `line 1, column 8: found no matching overload for '_==_' applied to '(int, string)'`,
		`status`:                `is int, and not true or false`,
		strings.Repeat("(", 99): "expression recursion limit exceeded: 50",
		`status == 1` + strings.Repeat(" ", MaxLength): "size exceeds limit",
	} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want %s", text, err, want)
		}
	}
}

// TestExpressionsAreBounded: whatever they say and of whatever, they end, by their cost or by the time.
func TestExpressionsAreBounded(t *testing.T) {
	list := Answer{Body: "[" + strings.Repeat("1,", 20000) + "1]"}
	costly, err := Compile(`json.all(a, json.all(b, json.all(c, a + b + c > 0)))`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := costly.Eval(context.Background(), list); err != errCost {
		t.Errorf("a loop in a loop: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := costly.Eval(ctx, list); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	large, err := Compile(`body.matches("(a*)*b") || (body + body + body + body).contains("b")`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := large.Eval(context.Background(), Answer{Body: strings.Repeat("a", 64<<10)}); err != nil && err != errCost {
		t.Errorf("a long text: %v", err)
	}
}

func TestCache(t *testing.T) {
	var c Cache
	first, err := c.Get(`status == 1`)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.Get(`status == 1`); again != first {
		t.Error("compiled again")
	}
	if _, err := c.Get(`status`); err == nil {
		t.Error("no error")
	}
	for i := range maxPrograms {
		if _, err := c.Get(fmt.Sprint("status == 1000 + ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.programs); n > maxPrograms {
		t.Errorf("%d programs are kept", n)
	}
}

func BenchmarkEval(b *testing.B) {
	p, err := Compile(`status == 200 && json.ready && json.lag < 5`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if is, err := p.Eval(context.Background(), good); !is || err != nil {
			b.Fatal(is, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(`status == 200 && json.ready && json.lag < 5`); err != nil {
			b.Fatal(err)
		}
	}
}
