package main

import (
	"strings"
	"testing"

	"sallyport/pkg/bus"
)

// What is wrong with streams and buckets is said once for each cause, with what to do about that one.
func TestDoctorSaysWhatIsWrongWithStreams(t *testing.T) {
	for name, c := range map[string]struct {
		kept   []bus.Kept
		status status
		says   string
		remedy string
	}{
		"nobody leads":  {[]bus.Kept{{Name: "A", Err: bus.ErrNoLeader}, {Name: "B", Err: bus.ErrNoLeader}}, statusFail, "A, B: no NATS server answers", "of three, two must run"},
		"not allowed":   {[]bus.Kept{{Name: "A", Err: bus.ErrNotAllowed}, {Name: "B", There: true, Replicas: 3}}, statusFail, "A cannot be asked about: this user may not", "NATS_USER=operator"},
		"missing":       {[]bus.Kept{{Name: "A"}, {Name: "B"}}, statusWarn, "A, B: not there yet", "nats-prepare"},
		"one copy":      {[]bus.Kept{{Name: "A", There: true, Replicas: 1}}, statusWarn, "A: kept in copies: 1; NATS_REPLICAS is 3", "nats-prepare"},
		"a server down": {[]bus.Kept{{Name: "A", There: true, Replicas: 3, Late: []string{"nats-3"}}}, statusWarn, "A: the copy on nats-3", "Start it"},
		"two down":      {[]bus.Kept{{Name: "A", There: true, Replicas: 3, Late: []string{"nats-3", "nats-2"}}}, statusFail, "A: takes nothing; of the copies (3), those on nats-2, nats-3", "Start the NATS servers"},
	} {
		f := findings{check: "NATS"}
		judgeKept(&f, c.kept, 3)
		if len(f.list) != 1 || f.list[0].Status != c.status || !strings.Contains(f.list[0].Says, c.says) || !strings.Contains(f.list[0].Remedy, c.remedy) {
			t.Errorf("%s: %+v", name, f.list)
		}
	}
}
