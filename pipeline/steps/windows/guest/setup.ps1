# Carries out plan.json, which lies beside this script, on the medium that the build attached: one phase after each logon,
# a restart after each phase, sysprep at the end of the last one. What it does is told on COM1; so is a failure, which
# ends the build.
$ErrorActionPreference = 'Stop'
$here = Split-Path -Parent $MyInvocation.MyCommand.Path
$media = Split-Path -Parent $here
$plan = Get-Content -Raw (Join-Path $here 'plan.json') | ConvertFrom-Json
$state = 'HKLM:\SOFTWARE\ImageBuild'

function Tell([string] $text) {
    $port = New-Object System.IO.Ports.SerialPort 'COM1', 115200, 'None', 8, 'One'
    try { $port.Open(); $port.WriteLine($text) } catch { } finally { $port.Close() }
}

function Start-Checked([string] $program, [string[]] $words, [int[]] $good) {
    $process = Start-Process -FilePath $program -ArgumentList $words -Wait -PassThru -WindowStyle Hidden
    if ($good -notcontains $process.ExitCode) { throw "$program $words ended with $($process.ExitCode)" }
}

function Add-TrustedPublisher($certificate) {
    if (-not $certificate) { return }
    $names = 'TrustedPublisher', 'LocalMachine'
    $store = New-Object System.Security.Cryptography.X509Certificates.X509Store $names
    $store.Open('ReadWrite')
    try { $store.Add($certificate) } finally { $store.Close() }
}

function Invoke-Action($action) {
    switch ($action.do) {
        'driver' {
            $folder = Join-Path $media $action.folder
            # A publisher that nobody has trusted before is asked about in a window, which would wait for ever.
            Get-ChildItem $folder -Filter '*.cat' | ForEach-Object {
                Add-TrustedPublisher (Get-AuthenticodeSignature $_.FullName).SignerCertificate
            }
            Start-Checked 'pnputil.exe' @('-i', '-a', "`"$folder\*.inf`"") @(0, 259, 3010)
        }
        'msi' {
            $log = Join-Path $env:TEMP ((Split-Path -Leaf $action.file) + '.log')
            $words = @('/i', "`"$(Join-Path $here $action.file)`"", '/qn', '/norestart', '/l*v', "`"$log`"")
            Start-Checked 'msiexec.exe' ($words + $action.properties) @(0, 3010)
        }
        'copy' {
            New-Item -ItemType Directory -Force -Path (Split-Path -Parent $action.to) | Out-Null
            Copy-Item -Force (Join-Path $here $action.file) $action.to
            Set-ItemProperty -Path $action.to -Name IsReadOnly -Value $false
        }
        'service' { Start-Checked 'sc.exe' @('config', $action.name, 'start=', $action.start) @(0) }
        'forget' { Remove-ItemProperty -Path $action.key -Name $action.value -ErrorAction SilentlyContinue }
        'remove' { Remove-Item -Force -Recurse -Path $action.path -ErrorAction SilentlyContinue }
        'trim' { Optimize-Volume -DriveLetter C -ReTrim -ErrorAction SilentlyContinue }
        'sysprep' {
            Remove-Item -Recurse -Path $state -ErrorAction SilentlyContinue
            Start-Checked "$env:SystemRoot\System32\Sysprep\Sysprep.exe" `
                @('/generalize', '/oobe', '/shutdown', '/quiet', "`"/unattend:$($action.answers)`"") @(0)
            # Where sysprep gives up, it may end well all the same, and the guest would run for ever.
            $reached = (Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State').ImageState
            if ($reached -ne 'IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE') {
                $log = "$env:SystemRoot\System32\Sysprep\Panther\setuperr.log"
                $said = Get-Content $log -Tail 3 -ErrorAction SilentlyContinue
                throw "sysprep left the state ${reached}: $($said -join ' / ')"
            }
        }
        default { throw "unknown action $($action.do)" }
    }
}

try {
    $phase = 0
    if (Test-Path $state) { $phase = (Get-ItemProperty $state).Phase }
    foreach ($action in $plan.phases[$phase]) {
        Tell "build: phase $phase, $($action.do) $($action.folder)$($action.file)$($action.value)$($action.path)"
        Invoke-Action $action
    }
    if ($phase + 1 -lt $plan.phases.Count) {
        New-Item -Force -Path $state | Out-Null
        Set-ItemProperty -Path $state -Name Phase -Value ($phase + 1)
        $again = "powershell -NoProfile -ExecutionPolicy Bypass -File `"$($MyInvocation.MyCommand.Path)`""
        Set-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce' -Name ImageBuild -Value $again
        Restart-Computer -Force
    }
} catch {
    Tell "$($plan.failed): $($_.Exception.Message)"
}
