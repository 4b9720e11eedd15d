// Command kubebox is every Kubernetes program of the testbed, and etcd, in one file.
//
// The program to be is taken from the name it was called by, or else from its first argument:
// "kubebox kubelet --config F" and a link called "kubelet" do the same.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	apiserverapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanagerapp "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxyapp "k8s.io/kubernetes/cmd/kube-proxy/app"
	schedulerapp "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs holds a maker for each program, because a command registers its flags when it is made.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          func() *cobra.Command { return apiserverapp.NewAPIServerCommand() },
	"kube-controller-manager": func() *cobra.Command { return controllermanagerapp.NewControllerManagerCommand() },
	"kube-proxy":              func() *cobra.Command { return proxyapp.NewProxyCommand() },
	"kube-scheduler":          func() *cobra.Command { return schedulerapp.NewSchedulerCommand() },
	"kubectl":                 func() *cobra.Command { return kubectlcmd.NewDefaultKubectlCommand() },
	"kubelet":                 func() *cobra.Command { return kubeletapp.NewKubeletCommand(context.Background()) },
}

// etcd has its own entry point and parses its own arguments.
const etcd = "etcd"

func known(name string) bool {
	_, found := programs[name]
	return found || name == etcd
}

func usage() {
	names := []string{etcd}
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: kubebox {%s} [flags]\n", strings.Join(names, "|"))
	os.Exit(2)
}

func main() {
	name := filepath.Base(os.Args[0])
	if !known(name) {
		if len(os.Args) < 2 || !known(os.Args[1]) {
			usage()
		}
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	if name == etcd {
		etcdmain.Main(os.Args)
		return
	}
	os.Exit(cli.Run(programs[name]()))
}
