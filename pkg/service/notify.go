package service

import (
	"net"
	"os"
)

// Notify tells whoever started this process how far it is, if they want to know (NOTIFY_SOCKET; systemd's Type=notify): then
// what is to start after it does not start before it is ready. Who started it otherwise hears nothing.
func Notify(state State) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // nobody listens; a start that is not heard of in time is ended by who waits for it
	}
	_, _ = conn.Write([]byte(state)) // the same
	_ = conn.Close()
}

// State is how far a process is.
type State string

// The states that are told.
const (
	StateReady    State = "READY=1"
	StateStopping State = "STOPPING=1"
)
