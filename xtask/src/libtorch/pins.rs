//! Which wheels make up libtorch, to the byte, and which of their members are kept.

use std::fmt::Write as _;

/// The version that tch 0.24 is made for; torch-sys refuses any other.
pub(crate) const TORCH_VERSION: &str = "2.11.0";

/// To be raised when what is kept of the wheels, or made beside it, changes.
const LAYOUT: u32 = 1;

/// One wheel of a package index, pinned.
#[derive(Clone, Debug)]
pub(crate) struct Wheel {
    /// The project's name, as pip knows it.
    pub(crate) project: &'static str,
    pub(crate) version: &'static str,
    /// The wheel's platform tag (one of them, where its name has several). Given to pip literally:
    /// most releases do not know that a newer manylinux tag accepts older ones. "any" asks for no
    /// other platform and Python than pip's own.
    pub(crate) platform: &'static str,
    /// Size of the wheel, for the progress line.
    pub(crate) bytes: u64,
    /// Lower-case hexadecimal.
    pub(crate) sha256: String,
    /// Whether a member of the wheel, named by its path in it, is needed.
    pub(crate) keep: fn(&str) -> bool,
}

impl Wheel {
    /// The line of a requirements file; pip itself then refuses any other content.
    pub(crate) fn requirement(&self) -> String {
        format!(
            "{}=={} --hash=sha256:{}",
            self.project, self.version, self.sha256
        )
    }
}

/// A libtorch in the cache: its folder's name and what it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    /// Name of the folder in the cache; one ending in `-cuda` has the CUDA part.
    pub(crate) entry: &'static str,
    /// For messages.
    pub(crate) title: &'static str,
    pub(crate) wheels: Vec<Wheel>,
    /// Free bytes needed on the cache's disk at the peak: what is unpacked, the wheel at hand, and
    /// the second copy of it that pip makes.
    pub(crate) room: u64,
}

impl Release {
    /// Text of the marker in a complete entry: what it was made from. Another text, another entry.
    pub(crate) fn manifest(&self) -> String {
        let mut text = format!(
            "{}, layout {LAYOUT}, made by cargo xtask setup from\n",
            self.entry
        );
        for wheel in &self.wheels {
            let _ = writeln!(text, "{}", wheel.requirement());
        }
        text
    }

    pub(crate) fn has_cuda(&self) -> bool {
        self.entry.ends_with("-cuda")
    }

    /// Bytes that are downloaded.
    pub(crate) fn download(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.bytes).sum()
    }
}

/// All that is ever fetched. Built from this file's tables in the program; tests make their own.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    pub(crate) cpu: Release,
    pub(crate) cuda: Release,
    /// A pip that runs on every Python 3 from 3.6 on, for those whose own is too old.
    pub(crate) pip: Wheel,
}

impl Pins {
    /// The wheels that this version of Bitkin is made for.
    pub(crate) fn shipped() -> Pins {
        let wheel = |project, version, platform, bytes, sha256: &str, keep| Wheel {
            project,
            version,
            platform,
            bytes,
            sha256: sha256.to_owned(),
            keep,
        };
        let torch = |keep| {
            wheel(
                "torch",
                TORCH_VERSION,
                "manylinux_2_28_x86_64",
                530_712_279,
                "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
                keep,
            )
        };
        let runtime = |keep| {
            wheel(
                "nvidia-cuda-runtime",
                "13.0.96",
                "manylinux2014_x86_64",
                2_243_632,
                "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
                keep,
            )
        };
        let cupti = |keep| {
            wheel(
                "nvidia-cuda-cupti",
                "13.0.85",
                "manylinux_2_25_x86_64",
                10_715_597,
                "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
                keep,
            )
        };
        // What torch's own metadata asks for on Linux, less what only Python needs (triton,
        // cuda-bindings): project, version, platform, bytes, SHA-256.
        let rest = [
            (
                "nvidia-cublas",
                "13.1.0.3",
                "manylinux_2_27_x86_64",
                423_133_236,
                "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
            ),
            (
                "nvidia-cuda-nvrtc",
                "13.0.88",
                "manylinux2010_x86_64",
                90_215_200,
                "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
            ),
            (
                "nvidia-cudnn-cu13",
                "9.19.0.56",
                "manylinux_2_27_x86_64",
                366_066_321,
                "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
            ),
            (
                "nvidia-cufft",
                "12.0.0.61",
                "manylinux2014_x86_64",
                214_085_489,
                "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
            ),
            (
                "nvidia-cufile",
                "1.15.1.6",
                "manylinux2014_x86_64",
                1_223_672,
                "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
            ),
            (
                "nvidia-curand",
                "10.4.0.35",
                "manylinux_2_27_x86_64",
                59_544_258,
                "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
            ),
            (
                "nvidia-cusolver",
                "12.0.4.66",
                "manylinux_2_27_x86_64",
                200_941_980,
                "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
            ),
            (
                "nvidia-cusparse",
                "12.6.3.3",
                "manylinux2014_x86_64",
                145_942_937,
                "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
            ),
            (
                "nvidia-cusparselt-cu13",
                "0.8.0",
                "manylinux2014_x86_64",
                169_884_119,
                "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
            ),
            (
                "nvidia-nccl-cu13",
                "2.28.9",
                "manylinux_2_18_x86_64",
                196_493_177,
                "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
            ),
            (
                "nvidia-nvjitlink",
                "13.0.88",
                "manylinux2010_x86_64",
                40_713_933,
                "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
            ),
            (
                "nvidia-nvshmem-cu13",
                "3.4.5",
                "manylinux2014_x86_64",
                60_412_546,
                "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
            ),
            (
                "nvidia-nvtx",
                "13.0.85",
                "manylinux1_x86_64",
                148_047,
                "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
            ),
        ];
        let mut cuda = vec![torch(torch_cuda), runtime(nvidia), cupti(nvidia)];
        cuda.extend(rest.map(|(project, version, platform, bytes, sha256)| {
            wheel(project, version, platform, bytes, sha256, nvidia)
        }));
        Pins {
            cpu: Release {
                entry: "libtorch-2.11.0-cpu",
                title: "libtorch 2.11.0 for CPUs",
                wheels: vec![torch(torch_cpu), runtime(cudart), cupti(cupti_only)],
                room: 1_200_000_000,
            },
            cuda: Release {
                entry: "libtorch-2.11.0-cuda",
                title: "libtorch 2.11.0 with CUDA 13",
                wheels: cuda,
                room: 4_200_000_000,
            },
            pip: wheel(
                "pip",
                "21.3.1",
                "any",
                1_723_581,
                "deaf32dcd9ab821e359cd8330786bcd077604b5c5730c0b096eda46f95c24a2d",
                |_| false,
            ),
        }
    }
}

/// Licences go wherever the libraries go.
fn licence(member: &str) -> bool {
    member.contains(".dist-info/licenses/") && !member.ends_with('/')
}

fn torch_cpu(member: &str) -> bool {
    member.starts_with("torch/include/")
        || matches!(
            member,
            "torch/lib/libc10.so" | "torch/lib/libgomp.so.1" | "torch/lib/libtorch_cpu.so"
        )
        || licence(member)
}

fn torch_cuda(member: &str) -> bool {
    torch_cpu(member)
        || matches!(
            member,
            "torch/lib/libc10_cuda.so"
                | "torch/lib/libcaffe2_nvrtc.so"
                | "torch/lib/libtorch_cuda.so"
                | "torch/lib/libtorch_cuda_linalg.so"
                | "torch/lib/libtorch_nvshmem.so"
        )
}

/// `libtorch_cpu.so` itself needs these two, even where there is no GPU.
fn cudart(member: &str) -> bool {
    member == "nvidia/cu13/lib/libcudart.so.13" || licence(member)
}

fn cupti_only(member: &str) -> bool {
    member == "nvidia/cu13/lib/libcupti.so.13" || licence(member)
}

/// Shared libraries, without headers and without NVRTC's alternative build.
fn nvidia(member: &str) -> bool {
    let is_library = member.starts_with("nvidia/")
        && member.contains("/lib/")
        && member.contains(".so")
        && !member.contains(".alt.so");
    is_library || licence(member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_pin_is_well_formed_and_the_cpu_part_is_a_part_of_the_whole() {
        let pins = Pins::shipped();
        for release in [&pins.cpu, &pins.cuda] {
            let mut seen = HashSet::new();
            for wheel in &release.wheels {
                assert!(
                    seen.insert(wheel.project),
                    "{} is pinned twice",
                    wheel.project
                );
                assert_eq!(wheel.sha256.len(), 64, "{}", wheel.project);
                assert!(
                    wheel
                        .sha256
                        .bytes()
                        .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
                );
                assert!(wheel.platform.ends_with("_x86_64") && wheel.bytes > 0);
                assert!(
                    !wheel.requirement().contains("//"),
                    "an address in a requirement"
                );
            }
            let largest = release.wheels.iter().map(|w| w.bytes).max().unwrap_or(0);
            assert!(
                release.room > 2 * largest,
                "{}: pip alone needs more room",
                release.entry
            );
        }
        let whole: HashSet<_> = pins.cuda.wheels.iter().map(Wheel::requirement).collect();
        assert!(
            pins.cpu
                .wheels
                .iter()
                .all(|wheel| whole.contains(&wheel.requirement()))
        );
        assert!(pins.cuda.has_cuda() && !pins.cpu.has_cuda());
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        assert!(torch_cpu(
            "torch/include/torch/csrc/api/include/torch/torch.h"
        ));
        assert!(torch_cpu("torch-2.11.0.dist-info/licenses/NOTICE"));
        for dropped in [
            "torch/lib/libtorch.so",
            "torch/lib/libtorch_python.so",
            "torch/nn/f.py",
        ] {
            assert!(!torch_cpu(dropped) && !torch_cuda(dropped), "{dropped}");
        }
        assert!(
            !torch_cpu("torch/lib/libtorch_cuda.so") && torch_cuda("torch/lib/libtorch_cuda.so")
        );
        assert!(nvidia("nvidia/cudnn/lib/libcudnn.so.9"));
        assert!(!nvidia("nvidia/cu13/lib/libnvrtc.alt.so.13"));
        assert!(!nvidia("nvidia/cudnn/include/cudnn.h"));
    }
}
