package service_test

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

// Help is asked for, and so it is what the process says; what is wrong with flags is a fault.
func TestHelpIsOutput(t *testing.T) {
	for flag, to := range map[string]string{"--help": "output", "--verbose": "errors"} {
		cmd, _ := process(t, nil, flag)
		said := map[string]*bytes.Buffer{"output": {}, "errors": {}}
		cmd.Stdout, cmd.Stderr = said["output"], said["errors"]
		_ = cmd.Run() // TestExitStatus has its status
		for where, text := range said {
			if strings.Contains(text.String(), "NATS_URL") != (where == to) {
				t.Errorf("%s: %s:\n%s", flag, where, text)
			}
		}
	}
}

// Whoever wants to be told (systemd, Type=notify) hears when the service is ready, and when it begins to stop.
func TestNotify(t *testing.T) {
	w := servicetest.New(t)
	path := filepath.Join(t.TempDir(), "notify")
	hear, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hear.Close() })
	expect := func(want string) {
		t.Helper()
		raw := make([]byte, 100)
		_ = hear.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := hear.Read(raw)
		if err != nil || string(raw[:n]) != want {
			t.Fatalf("heard %q, %v; want %s", raw[:n], err, want)
		}
	}
	cmd, out := process(t, w.Env(contract.Policy, map[string]string{"COLOUR": "red", "NOTIFY_SOCKET": path}).Vars)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect("READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("STOPPING=1")
	// What it has written is here only when it has ended.
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), `"msg":"ready"`) {
		t.Errorf("%v\n%s", err, out)
	}
}
