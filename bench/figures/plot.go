package figures

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Bar is one bar with the whisker of its interval.
type Bar struct {
	Name  string // bars that begin with "gtm" stand out, those that begin with "floor" stand back
	Value Summary
}

// A Panel is one diagram of bars, from top to bottom in the order given.
type Panel struct {
	Title, Unit string
	Bars        []Bar
}

// A Series is one line of a chart.
type Series struct {
	Name string
	X, Y []float64
}

// Distribution is a line of percentiles.
func Distribution(name string, numbers []float64) Series {
	s := Series{Name: name}
	for _, share := range []float64{0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1} {
		s.X, s.Y = append(s.X, share*100), append(s.Y, Percentile(numbers, share))
	}
	return s
}

// A Chart is one diagram of lines.
type Chart struct {
	Title, X, Y string // the title, and what the axes mean, with units
	LogX, LogY  bool
	Mark        float64 // where not 0: a dashed line across, the mark to hold
	Ticks       []Tick  // of the x axis, where its own numbers say little
	Series      []Series
}

// A Tick names a place on an axis.
type Tick struct {
	At   float64
	Name string
}

const (
	sans       = "Sans"
	panelWidth = 11 * vg.Centimeter
	chartTall  = 7.5 * vg.Centimeter
)

var (
	standOut  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xbf, A: 255}
	standBack = color.RGBA{R: 0xb8, G: 0xb8, B: 0xb8, A: 255}
	between   = color.RGBA{R: 0x8f, G: 0xb3, B: 0xa0, A: 255}
	ink       = color.RGBA{R: 0x30, G: 0x30, B: 0x30, A: 255}
	lines     = []color.RGBA{{R: 0xd0, G: 0x6a, B: 0x1c, A: 255}, {R: 0x3a, G: 0x8f, B: 0x55, A: 255},
		{R: 0x9b, G: 0x3f, B: 0x9b, A: 255}, {R: 0xc0, G: 0x30, B: 0x40, A: 255}, {R: 0x1a, G: 0x9a, B: 0xa8, A: 255},
		{R: 0xb8, G: 0x9a, B: 0x00, A: 255}}
)

// SaveBars draws the panels side by side, two in a row. The file's ending, .svg or .png, says how.
func SaveBars(file string, panels ...Panel) error {
	most := 0
	var plots []*plot.Plot
	for _, panel := range panels {
		p, err := panel.plot()
		if err != nil {
			return err
		}
		plots = append(plots, p)
		most = max(most, len(panel.Bars))
	}
	return save(file, plots, vg.Length(most)*0.75*vg.Centimeter+2.2*vg.Centimeter)
}

// SaveLines draws the charts side by side, two in a row. The file's ending, .svg or .png, says how.
func SaveLines(file string, charts ...Chart) error {
	var plots []*plot.Plot
	for _, chart := range charts {
		p, err := chart.plot()
		if err != nil {
			return err
		}
		plots = append(plots, p)
	}
	return save(file, plots, chartTall)
}

func (panel Panel) plot() (*plot.Plot, error) {
	p := newPlot(panel.Title, panel.Unit, "")
	p.X.Min = 0
	names := make([]string, len(panel.Bars))
	for i, bar := range panel.Bars {
		row := len(panel.Bars) - 1 - i // the first at the top
		names[row] = bar.Name
		if err := bar.add(p, float64(row)); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", panel.Title, bar.Name, err)
		}
		p.X.Max = max(p.X.Max, bar.Value.High*1.2) // room for the number behind the bar
	}
	p.Y.Min, p.Y.Max = -0.6, float64(len(panel.Bars))-0.4
	p.NominalY(names...)
	p.Y.Tick.Length = vg.Points(4) // of no width: distance
	p.X.Tick.Marker = thousands{plot.DefaultTicks{}}
	return p, nil
}

// add draws a bar at the height y: the median, the whisker of its interval, and the number behind it.
func (b Bar) add(p *plot.Plot, y float64) error {
	bar, err := plotter.NewBarChart(plotter.Values{b.Value.Median}, 0.45*vg.Centimeter)
	if err != nil {
		return err
	}
	bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, y, shade(b.Name), 0
	whisker, err := plotter.NewXErrorBars(struct {
		plotter.XYs
		plotter.XErrors
	}{plotter.XYs{{X: b.Value.Median, Y: y}}, plotter.XErrors{{Low: b.Value.Median - b.Value.Low, High: b.Value.High - b.Value.Median}}})
	if err != nil {
		return err
	}
	whisker.LineStyle.Color, whisker.CapWidth = ink, 0.15*vg.Centimeter
	label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: b.Value.High, Y: y}}, Labels: []string{grouped(b.Value.Median)}})
	if err != nil {
		return err
	}
	label.Offset.X = vg.Points(4)
	style := &label.TextStyle[0]
	style.Font.Size, style.Font.Variant, style.Color, style.YAlign = vg.Points(8), sans, ink, text.YCenter
	p.Add(bar, whisker, label)
	return nil
}

func (chart Chart) plot() (*plot.Plot, error) {
	p := newPlot(chart.Title, chart.X, chart.Y)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	p.Add(faintGrid())
	p.X.Tick.Marker, p.Y.Tick.Marker = thousands{plot.DefaultTicks{}}, thousands{plot.DefaultTicks{}}
	if chart.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, thousands{plot.LogTicks{}}
	}
	if chart.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, thousands{plot.LogTicks{}}
	}
	if len(chart.Ticks) > 0 {
		var ticks plot.ConstantTicks
		for _, tick := range chart.Ticks {
			ticks = append(ticks, plot.Tick{Value: tick.At, Label: tick.Name})
		}
		p.X.Tick.Marker = ticks
	}
	for i, c := range colours(chart.Series) {
		series := chart.Series[i]
		if err := series.add(p, c); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", chart.Title, series.Name, err)
		}
	}
	if !chart.LogY {
		p.Y.Min = min(0, p.Y.Min)
	}
	if chart.Mark != 0 {
		mark := plotter.NewFunction(func(float64) float64 { return chart.Mark })
		mark.Color, mark.Dashes, mark.Width = ink, []vg.Length{vg.Points(4), vg.Points(3)}, vg.Points(0.8)
		p.Add(mark)
		p.Legend.Add("mark", mark)
		p.Y.Max, p.Y.Min = max(p.Y.Max, chart.Mark*1.05), min(p.Y.Min, chart.Mark)
	}
	if chart.LogY { // whole decades, and room for the legend
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
		p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)+0.2))
	} else {
		p.Y.Max *= 1 + 0.07*float64(len(chart.Series)+1)
	}
	return p, nil
}

// colours gives each series its own: the first that begins with "gtm" stands out, the first floor stands back.
func colours(all []Series) []color.RGBA {
	chosen := make([]color.RGBA, len(all))
	next := 0
	taken := map[string]bool{}
	for i, series := range all {
		word, _, _ := strings.Cut(series.Name, " ")
		if (word == "gtm" || word == "floor") && !taken[word] {
			taken[word] = true
			chosen[i] = shade(word)
			continue
		}
		chosen[i] = lines[next%len(lines)]
		next++
	}
	return chosen
}

// dotted is how many points of a line are shown as dots at most.
const dotted = 100

// add draws a series: a line, with its points where they are few.
func (s Series) add(p *plot.Plot, c color.RGBA) error {
	if len(s.X) != len(s.Y) {
		return fmt.Errorf("%d x for %d y", len(s.X), len(s.Y))
	}
	points := make(plotter.XYs, len(s.X))
	for i := range s.X {
		points[i] = plotter.XY{X: s.X[i], Y: s.Y[i]}
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.3)
	dots.Color, dots.Shape, dots.Radius = c, draw.CircleGlyph{}, vg.Points(2)
	if p.Add(line); len(points) > dotted {
		p.Legend.Add(s.Name, line)
		return nil
	}
	p.Add(dots)
	p.Legend.Add(s.Name, line, dots)
	return nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size, p.Title.Padding = vg.Points(11), vg.Points(5)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = vg.Points(9), vg.Points(8)
		axis.Label.TextStyle.Font.Variant, axis.Tick.Label.Font.Variant = sans, sans
	}
	p.Title.TextStyle.Font.Variant, p.Legend.TextStyle.Font.Variant = sans, sans
	return p
}

func faintGrid() *plotter.Grid {
	grid := plotter.NewGrid()
	faint := color.RGBA{R: 0xe4, G: 0xe4, B: 0xe4, A: 255}
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	return grid
}

// shade is the colour of a bar by its name.
func shade(name string) color.RGBA {
	switch {
	case strings.HasPrefix(name, "gtm"):
		return standOut
	case strings.HasPrefix(name, "floor"):
		return standBack
	}
	return between
}

// thousands writes an axis' numbers short: 250k, 1M.
type thousands struct{ plot.Ticker }

func (t thousands) Ticks(low, high float64) []plot.Tick {
	ticks := slices.Clone(t.Ticker.Ticks(low, high))
	for i, tick := range ticks {
		if tick.Label != "" {
			ticks[i].Label = short(tick.Value)
		}
	}
	return ticks
}

func short(x float64) string {
	trim := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	switch {
	case x >= 1e6:
		return trim(fmt.Sprintf("%.2f", x/1e6)) + "M"
	case x >= 1e4:
		return trim(fmt.Sprintf("%.2f", x/1e3)) + "k"
	}
	return trim(fmt.Sprintf("%.4f", x))
}

// grouped writes a number as Number does, its thousands apart.
func grouped(x float64) string {
	number := Number(x)
	if x < 1000 {
		return number
	}
	var b strings.Builder
	for i, digit := range number {
		if i > 0 && (len(number)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// save draws the plots two in a row, each of that height, on white.
func save(file string, plots []*plot.Plot, tall vg.Length) error {
	if len(plots) == 0 {
		return fmt.Errorf("%s: nothing to draw", file)
	}
	columns := min(len(plots), 2)
	rows := (len(plots) + columns - 1) / columns
	canvas, err := draw.NewFormattedCanvas(vg.Length(columns)*panelWidth, vg.Length(rows)*tall, strings.TrimPrefix(filepath.Ext(file), "."))
	if err != nil {
		return err
	}
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
	}
	for i, p := range plots {
		grid[i/columns][i%columns] = p
	}
	page := draw.New(canvas)
	page.FillPolygon(color.White, []vg.Point{page.Min, {X: page.Max.X, Y: page.Min.Y}, page.Max, {X: page.Min.X, Y: page.Max.Y}})
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadTop: vg.Points(6), PadBottom: vg.Points(6), PadLeft: vg.Points(6),
		PadRight: vg.Points(10), PadX: vg.Points(14), PadY: vg.Points(14)}
	for i, row := range plot.Align(grid, tiles, page) {
		for j, part := range row {
			if grid[i][j] != nil {
				grid[i][j].Draw(part)
			}
		}
	}
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return err
	}
	// Where Liberation Sans is not installed, Arial and Helvetica are as wide, so that numbers and names stay in place.
	drawn := bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(file, drawn, 0o644)
}
