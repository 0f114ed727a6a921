//! Residual networks (He et al., CVPR 2016): the compact one that ships with Bitkin, 2.7 million parameters
//! for pictures of 64 x 64 pixels on a CPU, and ResNet-18 to ResNet-152.

use std::ops::Range;

use tch::{Kind, TchError, Tensor};

/// Width and number of residual blocks of each stage of the compact architecture. The first stage
/// keeps the stem's resolution, each later one halves it.
pub const COMPACT_STAGES: [(i64, usize); 4] = [(32, 1), (64, 1), (128, 2), (256, 2)];

/// One convolution of a plan.
#[derive(Clone, Debug)]
pub(crate) struct ConvPlan {
    pub(crate) name: String,
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
}

/// Computes a plan's convolutions.
pub(crate) trait Convolve {
    /// Applies the convolution of this name with its bias, without activation.
    fn convolve(
        &self,
        name: &str,
        x: &Tensor,
        stride: i64,
        padding: [i64; 2],
        groups: i64,
    ) -> Result<Tensor, TchError>;

    /// The size of a convolution's kernel.
    fn kernel(&self, name: &str) -> i64;

    /// A sum, as the arithmetic has it.
    fn settle(&self, x: Tensor) -> Result<Tensor, TchError> {
        Ok(x)
    }

    /// The last layer's output as an ordinary tensor.
    fn leave(&self, x: Tensor) -> Result<Tensor, TchError> {
        Ok(x)
    }
}

/// Places of a block's convolutions in the plan's list.
#[derive(Clone)]
struct Block {
    /// One after the other.
    convs: Range<usize>,
    shortcut: Option<usize>,
}

/// How the convolutions of a residual network are joined.
#[derive(Clone)]
pub(crate) struct ResidualPlan {
    /// The first is the stem.
    convs: Vec<ConvPlan>,
    /// Whether the stem's output is halved by max pooling.
    pools: bool,
    blocks: Vec<Block>,
    dim: i64,
}

/// Names in which architectures differ.
struct Names {
    stem: &'static str,
    shortcut: &'static str,
}

impl ResidualPlan {
    /// The compact architecture with these stages.
    pub(crate) fn compact(stages: &[(i64, usize)]) -> ResidualPlan {
        let names = Names {
            stem: "stem",
            shortcut: "shortcut",
        };
        let mut plan = ResidualPlan::of_stem(&names, stages[0].0, 3, false);
        for (stage, &(output, count)) in stages.iter().enumerate() {
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let name = format!("blocks.{}", plan.blocks.len());
                plan.block(&name, &names, &[(output, 3, stride), (output, 3, 1)]);
            }
        }
        plan
    }

    /// The ResNet of this depth, its layers named as in torchvision (where the stride of a bottleneck
    /// lies in its middle convolution); `None` for a depth that the paper does not have.
    pub(crate) fn resnet(depth: u32) -> Option<ResidualPlan> {
        let (bottleneck, counts) = match depth {
            18 => (false, [2, 2, 2, 2]),
            34 => (false, [3, 4, 6, 3]),
            50 => (true, [3, 4, 6, 3]),
            101 => (true, [3, 4, 23, 3]),
            152 => (true, [3, 8, 36, 3]),
            _ => return None,
        };
        let names = Names {
            stem: "conv1",
            shortcut: "downsample",
        };
        let mut plan = ResidualPlan::of_stem(&names, 64, 7, true);
        for (stage, count) in counts.into_iter().enumerate() {
            let width = 64 << stage;
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let name = format!("layer{}.{i}", stage + 1);
                if bottleneck {
                    let convs = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)];
                    plan.block(&name, &names, &convs);
                } else {
                    plan.block(&name, &names, &[(width, 3, stride), (width, 3, 1)]);
                }
            }
        }
        Some(plan)
    }

    fn of_stem(names: &Names, width: i64, kernel: i64, pools: bool) -> ResidualPlan {
        ResidualPlan {
            convs: vec![ConvPlan {
                name: names.stem.into(),
                input: 3,
                output: width,
                kernel,
                stride: 2,
            }],
            pools,
            blocks: Vec::new(),
            dim: width,
        }
    }

    /// Adds a block of convolutions (width, kernel, stride), and a shortcut where its shape changes.
    fn block(&mut self, name: &str, names: &Names, convs: &[(i64, i64, i64)]) {
        let first = self.convs.len();
        let (mut width, mut stride) = (self.dim, 1);
        for (i, &(output, kernel, step)) in (1..).zip(convs) {
            self.convs.push(ConvPlan {
                name: format!("{name}.conv{i}"),
                input: width,
                output,
                kernel,
                stride: step,
            });
            (width, stride) = (output, stride * step);
        }
        let end = self.convs.len();
        let changes_shape = stride != 1 || width != self.dim;
        if changes_shape {
            self.convs.push(ConvPlan {
                name: format!("{name}.{}", names.shortcut),
                input: self.dim,
                output: width,
                kernel: 1,
                stride,
            });
        }
        self.blocks.push(Block {
            convs: first..end,
            shortcut: changes_shape.then_some(end),
        });
        self.dim = width;
    }

    pub(crate) fn convs(&self) -> &[ConvPlan] {
        &self.convs
    }

    pub(crate) fn dim(&self) -> i64 {
        self.dim
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Names of the convolutions of the last blocks.
    pub(super) fn convs_of_last(&self, blocks: usize) -> impl Iterator<Item = &str> {
        let first = self.blocks.len().saturating_sub(blocks);
        let first = self
            .blocks
            .get(first)
            .map_or(self.convs.len(), |b| b.convs.start);
        self.convs[first..].iter().map(|conv| conv.name.as_str())
    }

    fn conv(&self, index: usize, x: &Tensor, layers: &impl Convolve) -> Result<Tensor, TchError> {
        let conv = &self.convs[index];
        layers.convolve(&conv.name, x, conv.stride, [conv.kernel / 2; 2], 1)
    }

    /// What comes before the blocks: `[n, 3, h, w]` to what the first of them takes.
    pub(crate) fn stem(&self, x: &Tensor, layers: &impl Convolve) -> Result<Tensor, TchError> {
        let x = self.conv(0, x, layers)?.f_relu_()?;
        match self.pools {
            true => x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false),
            false => Ok(x),
        }
    }

    /// Some of the blocks; after the last, maps `[n, dim, h, w]` in the layers' own kind.
    pub(crate) fn run(
        &self,
        mut x: Tensor,
        blocks: Range<usize>,
        layers: &impl Convolve,
    ) -> Result<Tensor, TchError> {
        for block in &self.blocks[blocks] {
            let mut y = self.conv(block.convs.start, &x, layers)?;
            for index in block.convs.start + 1..block.convs.end {
                y = self.conv(index, &y.f_relu_()?, layers)?;
            }
            let sum = match block.shortcut {
                Some(shortcut) => y.f_add(&self.conv(shortcut, &x, layers)?)?,
                None => y.f_add(&x)?,
            };
            x = layers.settle(sum)?.f_relu_()?;
        }
        Ok(x)
    }

    /// `[n, 3, h, w]` to f32 `[n, dim]`.
    pub(crate) fn forward(&self, x: &Tensor, layers: &impl Convolve) -> Result<Tensor, TchError> {
        let x = self.run(self.stem(x, layers)?, 0..self.blocks.len(), layers)?;
        layers
            .leave(x)?
            .f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }
}
