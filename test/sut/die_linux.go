package sut

import (
	"os/exec"
	"syscall"
)

// dieWithTest has the kernel end a process whose test process is gone, however that ended.
func dieWithTest(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
