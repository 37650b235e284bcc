package audit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/store/state"
)

// sample is a small log.
func sample(t testing.TB) []string {
	l := open(t, Config{})
	write(t, l, 3)
	ended, err := l.Ask(chain.ActAccept, "alice", "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	ended(nil)
	if _, err := l.Ask(chain.ActForget, "alice", "", "edge/fra1", ""); err != nil { // of which nothing is heard
		t.Fatal(err)
	}
	write(t, l, 2)
	return lines(t, l, 0)
}

// TestEveryChangeOfALogIsSeen: of each byte, of each line that is missing, twice or elsewhere.
func TestEveryChangeOfALogIsSeen(t *testing.T) {
	all := sample(t)
	if v := verify(all...); len(v.Faults()) != 0 || len(v.Chains()[0].Open) != 1 || v.Chains()[0].Open[0] != 6 {
		t.Fatalf("as it is: %v, %+v", v.Faults(), v.Chains())
	}
	head := verify(all...).Chains()[0]
	faulty := func(what string, lines []string) {
		t.Helper()
		v := &chain.Verifier{Expect: map[string]string{chain.Name(head.Writer, head.Last): head.Head}}
		_ = v.Add(strings.NewReader(strings.Join(lines, "\n") + "\n"))
		if len(v.Faults())+len(v.Missing()) == 0 && len(v.Chains()) == 1 { // or a line says to be of another log, and verify names that
			t.Errorf("%s was not seen", what)
		}
	}
	without := func(i int) []string { return append(append([]string(nil), all[:i]...), all[i+1:]...) }
	for i := range all {
		if i > 0 { // a log may begin later
			faulty("a line that is missing", without(i))
		}
		faulty("a line that is there twice", append(append(append([]string(nil), all[:i]...), all[i]), all[i:]...))
		for j := range all[i] {
			changed := []byte(all[i])
			changed[j] ^= 1
			faulty("a byte that was changed", append(append(append([]string(nil), all[:i]...), string(changed)), all[i+1:]...))
		}
	}
	faulty("an end that is missing", all[:len(all)-1])
	faulty("nothing at all", nil)
	swapped := append([]string(nil), all...)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	faulty("two lines that were swapped", swapped)
}

// TestLogsOfSeveralControlsMerge by time, are verified together, and must agree about generations.
func TestLogsOfSeveralControlsMerge(t *testing.T) {
	clock := began
	now := func() time.Time { clock = clock.Add(time.Second); return clock }
	a, b := open(t, Config{Now: now}), open(t, Config{Now: now})
	for i := range 5 {
		write(t, a, 1)
		if err := b.Pruned([]state.Record{{Tenant: "shop", Generation: state.Generation(i + 1), ID: "same"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Pruned([]state.Record{{Tenant: "shop", Generation: 2, ID: "same"}}); err != nil {
		t.Fatal(err)
	}
	merge := func(logs ...*Log) (string, error) {
		var readers []io.Reader
		for _, l := range logs {
			readers = append(readers, strings.NewReader(strings.Join(lines(t, l, 0), "\n")+"\n"))
		}
		var out bytes.Buffer
		err := chain.Merge(&out, readers...)
		return out.String(), err
	}
	text, err := merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	v := verify(strings.Split(strings.TrimSpace(text), "\n")...)
	if len(v.Faults()) != 0 || v.Lines() != 11 || len(v.Chains()) != 2 {
		t.Errorf("%v, %d lines, %+v", v.Faults(), v.Lines(), v.Chains())
	}
	last := time.Time{}
	for line := range strings.Lines(text) {
		e, err := chain.Parse([]byte(line))
		if err != nil || e.Time.Before(last) {
			t.Errorf("%+v, %v, behind %s", e, err, last)
		}
		last = e.Time
	}
	if err := a.Pruned([]state.Record{{Tenant: "shop", Generation: 3, ID: "another"}}); err != nil {
		t.Fatal(err)
	}
	text, err = merge(a, b)
	if v := verify(strings.Split(strings.TrimSpace(text), "\n")...); err != nil || len(v.Faults()) != 1 ||
		!strings.Contains(v.Faults()[0].Text, "shop@3 is another here") {
		t.Errorf("%v, %v", v.Faults(), err)
	}
	if err := chain.Merge(io.Discard, strings.NewReader("no log\n")); err == nil || !strings.Contains(err.Error(), "line 1 of log 1") {
		t.Errorf("%v", err)
	}
}

// TestALineThatIsTooLongIsNoLine.
func TestALineThatIsTooLongIsNoLine(t *testing.T) {
	err := (&chain.Verifier{}).Add(io.LimitReader(zeros{}, chain.MostLine+100))
	if err == nil || !strings.Contains(err.Error(), "it is no log") {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte{'0'}, len(b))), nil }

func FuzzVerify(f *testing.F) {
	f.Add([]byte(strings.Join(sample(f), "\n")))
	f.Add([]byte("{}\n[]\n{\"seq\":1,\"writer\":\"a\",\"generations\":[{}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v := &chain.Verifier{Expect: map[string]string{"a:1": "b"}}
		if err := v.Add(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		for _, fault := range v.Faults() {
			_ = fault.String()
		}
		var out bytes.Buffer
		if err := chain.Merge(&out, bytes.NewReader(text)); err == nil && len(v.Chains()) == 0 && out.Len() > 0 {
			t.Error("lines were merged that are no log")
		} else if errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
